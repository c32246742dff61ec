"""Compose: think up scenarios. A composer is a dataclass with one method, ``compose``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from mis_dataset.records import Failed, Rejected, Scenario


@dataclass(frozen=True)
class Brief:
    """What a composer is asked for."""

    seed: int
    """The recipe's seed."""
    wanted: Mapping[tuple[str, str], int]
    """How many harmful scenarios per (subset, sub-category); twins come on top."""
    twins: float
    """The share of harmful scenarios for which to compose a benign twin, 0 to 1."""


@dataclass(frozen=True)
class Dropped:
    """A seed of which no scenario was made, and why."""

    id: str
    """Names the seed: its source and row."""
    outcome: Rejected | Failed


class Composer(Protocol):
    """The contract of every composer."""

    def compose(self, brief: Brief) -> Iterator[tuple[Scenario, ...] | Dropped]:
        """Yield families (a harmful scenario, alone or followed by its benign twin), and what was dropped on the way.

        The n-th family of a (subset, sub-category) depends on the seed alone, never on how many are asked for.
        """
        ...
