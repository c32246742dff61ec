"""Teach: write the safety chain of thought. A teacher is a dataclass with one method, ``teach``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mis_dataset.records import Failed, Label, Rejected, Scenario


@dataclass(frozen=True)
class LabelRequest:
    """One row to label."""

    scenario: Scenario
    images: tuple[Path, ...]
    """The drawn images, in the question's order."""
    critiques: tuple[str, ...] = ()
    """What critics found wrong with earlier labels of this row, oldest first; empty the first time."""


class Teacher(Protocol):
    """The contract of every teacher."""

    def teach(self, requests: Sequence[LabelRequest]) -> Iterator[Label | Rejected | Failed]:
        """Yield one result per request, in order; a backend may work on several at once.

        Raises:
            ServerError: the teacher cannot work at all (wrong key, unknown model, server gone).
        """
        ...
