"""What a dataset says of its own making, beyond its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mis_dataset.agreement import Agreement
from mis_dataset.budget import Cost, Totals
from mis_dataset.decontaminate import Contamination
from mis_dataset.funnel import Checks, FunnelStep
from mis_dataset.recipe import CardSpec


@dataclass(frozen=True)
class Quota:
    """How many harmful rows a cell was to get, and how many it got."""

    subset: str
    sub_category: str
    wanted: int
    got: int


@dataclass(frozen=True)
class Imported:
    """Where a dataset comes from that was not built but brought along."""

    format: str
    """The layout in which it lay: a name of `mis_dataset.intake.available`."""
    source: str
    """The name of its folder or file; never a path of this machine."""


@dataclass(frozen=True)
class BuildFacts:
    """Everything about a build that its rows do not tell."""

    name: str
    """The recipe's name, or the one under which the dataset was imported."""
    recipe_text: str
    """The recipe as written; shipped as ``recipe.toml``. Empty for what was imported."""
    fingerprint: str
    """Of the whole dataset: equal fingerprints, equal data."""
    stages: Mapping[str, str]
    """The fingerprint of each of compose, render, teach and screen; empty for what was imported."""
    funnel: tuple[FunnelStep, ...]
    """In the order of the stages."""
    quotas: tuple[Quota, ...]
    rounds: int = 1
    """In how many rounds families were composed until the quotas were met, or the recipe allowed no more."""
    spent: tuple[Cost, ...] = ()
    """Measured, so it differs from build to build; empty where no server and no accelerator was used."""
    agreement: tuple[Agreement, ...] = ()
    """Of the experts by whose grades rows were routed; empty unless there are two."""
    decontamination: tuple[Contamination, ...] = ()
    """Per benchmark that the recipe names."""
    checks: Checks | None = None
    """None if no model looked at the images."""
    card: CardSpec = field(default_factory=CardSpec)
    imported: Imported | None = None
    """None for what a recipe built."""

    @property
    def totals(self) -> Totals:
        """Everything that was spent."""
        return Totals.of(self.spent)

    @property
    def shortfalls(self) -> list[Quota]:
        """The cells that got fewer rows than wanted."""
        return [quota for quota in self.quotas if quota.got < quota.wanted]
