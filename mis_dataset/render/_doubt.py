"""Whether a model can draw at all: one that cannot is not asked for thousands of pictures."""

from __future__ import annotations

from dataclasses import dataclass

from mis_dataset.errors import RenderError
from mis_dataset.records import Rejected
from mis_dataset.render import Drawing

MOST_BLANK = 16
"""So many blank pictures, and not one that shows something, are the model's fault and not a seed's."""


@dataclass
class Doubt:
    """Looks at what a model draws until one of its pictures shows something."""

    model: str
    _blank: int = 0
    _is_dispelled: bool = False

    def look(self, result: Drawing | Rejected) -> Drawing | Rejected:
        """The result, as it came.

        Raises:
            RenderError: it is blank, and so are all others; says why it is.
        """
        if self._is_dispelled:
            return result
        if not isinstance(result, Rejected):
            self._is_dispelled = True
            return result
        self._blank += 1
        if self._blank == MOST_BLANK:
            raise RenderError(
                f"{self.model} draws nothing: all of its first {MOST_BLANK} pictures are blank; of the last, "
                f"{result.detail}"
            )
        return result
