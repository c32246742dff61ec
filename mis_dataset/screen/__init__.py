"""Screen: judge labelled rows one by one. A screener is a dataclass with one method, ``screen``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from mis_dataset.records import Labelled, Verdict


class Screener(Protocol):
    """The contract of every screener."""

    def screen(self, rows: Sequence[Labelled]) -> Iterator[Verdict]:
        """Yield one verdict per row, in order. ``cannot_judge`` is not a verdict: the row fails, it is not rejected.

        The paths of the rows' pictures can be opened as they are.
        """
        ...
