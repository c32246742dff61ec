"""The numbers of a dataset's card, all counted from the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mis_dataset.funnel import FunnelStep
from mis_dataset.records import SUBSETS, Screened, Subset
from mis_dataset.taxonomy import taxonomy

PICTOGRAM = "pictogram"
"""What the pictogram renderer calls its model."""
TEMPLATE = "template"
"""What the template teacher calls itself."""

Made = tuple[str, str]
"""A model and its revision."""


@dataclass(frozen=True)
class Counts:
    """How many rows there are of each kind; every Counter is keyed by what its comment says."""

    rows: int
    subset_intent: Counter[tuple[str, str]]  # subset, intent
    cells: Counter[tuple[str, str, str]]  # sub-category, subset, intent
    categories: Mapping[str, str]  # of each sub-category
    relations: Counter[str]  # of the rows that have one
    images_per_row: Counter[int]
    harmful: int
    harmful_with_twin: int
    renderers: Counter[Made]  # distinct images by model and revision
    teachers: Counter[Made]  # rows by model and revision
    judges: Counter[str]  # verdicts by judge
    paired: int
    """Rows of ``real`` whose scenario is also there drawn."""

    @property
    def subsets(self) -> list[Subset]:
        """The subsets that have rows."""
        return [subset for subset in SUBSETS if self.subset(subset)]

    @property
    def sub_categories(self) -> list[str]:
        """The sub-categories that have rows, in the taxonomy's order; then others, which imported rows may have."""
        known = list(taxonomy().sub_categories)
        others = sorted(self.categories.keys() - set(known), key=lambda name: (not name, name))
        return [name for name in [*known, *others] if name in self.categories]

    @property
    def images(self) -> int:
        """How many different images there are."""
        return self.renderers.total()

    @property
    def pictograms(self) -> int:
        """How many of them are pictograms."""
        return sum(count for (model, _), count in self.renderers.items() if model == PICTOGRAM)

    @property
    def templated(self) -> int:
        """How many labels are written from templates."""
        return sum(count for (teacher, _), count in self.teachers.items() if teacher == TEMPLATE)

    def subset(self, subset: str) -> int:
        """The rows of a subset."""
        return sum(self.subset_intent[subset, intent] for intent in ("harmful", "benign"))

    def cell(self, sub_category: str, subset: str) -> int:
        """The rows of a sub-category in a subset."""
        return sum(self.cells[sub_category, subset, intent] for intent in ("harmful", "benign"))

    def sub_category(self, name: str) -> int:
        """The rows of a sub-category."""
        return sum(self.cell(name, subset) for subset in SUBSETS)


def count(rows: Sequence[Screened]) -> Counts:
    """Count everything that the card tells of the rows."""
    scenarios = [row.scenario for row in rows]
    harmful = [scenario for scenario in scenarios if scenario.intent == "harmful"]
    pictures = {picture.sha256: picture for row in rows for picture in row.pictures}.values()
    return Counts(
        rows=len(rows),
        subset_intent=Counter((scenario.subset, scenario.intent) for scenario in scenarios),
        cells=Counter((scenario.sub_category, scenario.subset, scenario.intent) for scenario in scenarios),
        categories={scenario.sub_category: scenario.category for scenario in scenarios},
        relations=Counter(scenario.relation for scenario in scenarios if scenario.relation),
        images_per_row=Counter(len(scenario.images) for scenario in scenarios),
        harmful=len(harmful),
        harmful_with_twin=sum(scenario.twin_id is not None for scenario in harmful),
        renderers=Counter((picture.model, picture.revision) for picture in pictures),
        teachers=Counter((row.label.teacher, row.label.revision) for row in rows),
        judges=Counter(verdict.judge for row in rows for verdict in row.verdicts),
        paired=sum(scenario.subset == "real" and scenario.pair_id is not None for scenario in scenarios),
    )


@dataclass(frozen=True)
class StageOutcome:
    """What became of the items of one stage."""

    stage: str
    accepted: int
    rejected: int
    failed: int
    reasons: list[tuple[str, int]]
    """Why items were rejected or failed, most frequent first."""


def outcomes(funnel: Sequence[FunnelStep]) -> list[StageOutcome]:
    """The funnel by stage, in its order."""

    def of(stage: str) -> StageOutcome:
        steps = [step for step in funnel if step.stage == stage]
        totals: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for step in steps:
            totals[step.outcome] += step.count
            if step.reason:
                reasons[step.reason] += step.count
        ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        return StageOutcome(stage, totals["accepted"], totals["rejected"], totals["failed"], ranked)

    return [of(stage) for stage in dict.fromkeys(step.stage for step in funnel)]
