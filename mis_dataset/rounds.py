"""Rounds: how many families to compose, first and then again where a quota is still short."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from math import ceil

from mis_dataset.compose import Dropped
from mis_dataset.recipe import Cell
from mis_dataset.records import Scenario

_LEAST_YIELD = 0.2
"""A cell of which nearly nothing was accepted does not get hundreds of families for one row that is missing."""


def first_wanted(quotas: Mapping[Cell, int], oversample: float) -> dict[Cell, int]:
    """Families to compose per cell in the first round."""
    return {cell: ceil(rows * oversample) for cell, rows in quotas.items()}


def more_wanted(
    wanted: Mapping[Cell, int], quotas: Mapping[Cell, tuple[int, int]], oversample: float
) -> dict[Cell, int]:
    """Families to compose per cell up to and including the next round: more where rows are missing.

    Args:
        wanted: families wanted so far.
        quotas: rows wanted and got.
        oversample: to make up for rejects that are not foreseen.
    """
    more = dict(wanted)
    for cell, (rows, got) in quotas.items():
        if got < rows:
            composed = more.get(cell, 0)  # nothing yet of a cell that only a later version asks for
            # Experts route rows between cells: a cell may hold more of them than were composed for it.
            accepted = min(max(got / composed, _LEAST_YIELD), 1.0) if composed else 1.0
            more[cell] = composed + ceil((rows - got) * oversample / accepted)
    return more


def only_new(
    families: Iterable[tuple[Scenario, ...] | Dropped], known: Collection[str]
) -> Iterator[tuple[Scenario, ...] | Dropped]:
    """Leave out families that an earlier round composed; composers start from the beginning every time."""
    return (entry for entry in families if isinstance(entry, Dropped) or entry[0].id not in known)
