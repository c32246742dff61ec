"""The numbers of a dataset's card, all counted from the rows."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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


def count(rows: Iterable[Screened]) -> Counts:
    """Count everything that the card tells of the rows, which are read once."""
    subset_intent: Counter[tuple[str, str]] = Counter()
    cells: Counter[tuple[str, str, str]] = Counter()
    categories: dict[str, str] = {}
    relations: Counter[str] = Counter()
    images_per_row: Counter[int] = Counter()
    teachers: Counter[Made] = Counter()
    judges: Counter[str] = Counter()
    harmful_with_twin = paired = 0
    # Half of a digest tells millions of images apart, and takes a tenth of the memory.
    images: dict[Made, array[int]] = defaultdict(lambda: array("Q"))
    for row in rows:
        scenario = row.scenario
        subset_intent[scenario.subset, scenario.intent] += 1
        cells[scenario.sub_category, scenario.subset, scenario.intent] += 1
        categories[scenario.sub_category] = scenario.category
        relations.update([scenario.relation] if scenario.relation else [])
        images_per_row[len(scenario.images)] += 1
        teachers[row.label.teacher, row.label.revision] += 1
        judges.update(verdict.judge for verdict in row.verdicts)
        harmful_with_twin += scenario.intent == "harmful" and scenario.twin_id is not None
        paired += scenario.subset == "real" and scenario.pair_id is not None
        for picture in row.pictures:
            images[picture.model, picture.revision].append(int(picture.sha256[:16], 16))
    return Counts(
        rows=subset_intent.total(),
        subset_intent=subset_intent,
        cells=cells,
        categories=categories,
        relations=relations,
        images_per_row=images_per_row,
        harmful=sum(count for (_, intent), count in subset_intent.items() if intent == "harmful"),
        harmful_with_twin=harmful_with_twin,
        renderers=Counter({made: len(np.unique(digests)) for made, digests in images.items()}),
        teachers=teachers,
        judges=judges,
        paired=paired,
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
