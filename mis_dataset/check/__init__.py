"""Check: does a drawn image show what it should? A checker is a dataclass with one method, ``check``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mis_dataset.records import Failed, Rejected


@dataclass(frozen=True)
class CheckOrder:
    """One image to check; the checker sees neither the question nor the other images."""

    object: str
    """The thing that the image should show."""
    prompt: str
    """The prompt that it was drawn from."""
    image: Path


@dataclass(frozen=True)
class Checked:
    """What the checker saw."""

    shows: bool
    detail: str
    """One sentence: what is there, or what is missing."""
    better_prompt: str = ""
    """What to draw from next; empty: the same prompt, from another seed."""


class Checker(Protocol):
    """The contract of every checker."""

    def check(self, orders: Sequence[CheckOrder]) -> Iterator[Checked | Rejected | Failed]:
        """Yield one result per order, in order.

        Raises:
            ServerError: the checker cannot work at all.
        """
        ...
