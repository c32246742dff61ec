"""Settle: what all rows that were let pass come to, once they are routed, decontaminated and split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mis_dataset.decontaminate import Benchmarks, Clean
from mis_dataset.funnel import FunnelStep, left
from mis_dataset.outline import outline
from mis_dataset.recipe import Cell, Recipe
from mis_dataset.records import Screened
from mis_dataset.route import Routed, route
from mis_dataset.split import Split, split


@dataclass(frozen=True)
class Settled:
    """What all rounds so far come to."""

    routed: Routed
    clean: Clean
    chosen: Split
    funnel: tuple[FunnelStep, ...]
    """Of what comes behind the screen."""

    @property
    def missing(self) -> str:
        """How many rows are missing, and where."""
        short = self.chosen.shortfalls
        cells = [f"{' / '.join(cell)} {got} of {wanted}" for cell, (wanted, got) in short.items()]
        rows = sum(wanted - got for wanted, got in short.values())
        return f"{rows} rows are missing ({', '.join(cells[:3])}{' …' if len(cells) > 3 else ''})"


def settle(
    rows: Iterable[Screened],
    recipe: Recipe,
    benchmarks: Benchmarks,
    quotas: Mapping[Cell, int],
    kept: Sequence[str] = (),
) -> Settled:
    """Route, decontaminate and split screened rows, in the order in which they were composed.

    Args:
        rows: of all rounds so far; read once, and only their outlines are kept.
        recipe: says how.
        benchmarks: those of the recipe.
        quotas: those of the version that the rows are for.
        kept: the ids of the rows of the version before, in their order.
    """
    outlines = [outline(row, place, benchmarks.near(row)) for place, row in enumerate(rows)]
    routed = route(outlines, recipe.split.agreement)
    clean = benchmarks.clean(routed.rows)
    chosen = split(clean.rows, quotas, recipe.split, kept)
    funnel: list[FunnelStep] = []
    if routed.graded:
        funnel += left("route", len(routed.rows), routed.dropped)
    if clean.found:
        funnel += left("decontaminate", len(clean.rows), clean.dropped)
    funnel += left("split", len(chosen.rows), chosen.dropped)
    return Settled(routed, clean, chosen, tuple(funnel))
