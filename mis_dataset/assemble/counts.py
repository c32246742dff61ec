"""The numbers of a dataset's card, all counted from the rows."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
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
Kind = tuple[str, str]
"""A category and a sub-category of it; what an imported row does not say is empty."""


@dataclass(frozen=True)
class Counts:
    """How many rows there are of each kind; every Counter is keyed by what its comment says."""

    rows: int
    subset_intent: Counter[tuple[str, str]]  # subset, intent
    cells: Counter[tuple[Kind, str, str]]  # kind, subset, intent
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
    def kinds(self) -> list[Kind]:
        """The kinds of harm that have rows, in the taxonomy's order; then others, which imported rows may have."""
        found = {kind for kind, _, _ in self.cells}
        known = [(sub.category, name) for name, sub in taxonomy().sub_categories.items()]
        others = sorted(found - set(known), key=lambda kind: (not kind[1], kind[1], not kind[0], kind[0]))
        return [kind for kind in [*known, *others] if kind in found]

    @property
    def labels(self) -> dict[Kind, str]:
        """What to call each of `kinds` on one line: its sub-category, and its category where that is not enough."""
        times = Counter(name for _, name in self.kinds)
        whole = {kind: ": ".join(dict.fromkeys(part or "not given" for part in kind)) for kind in self.kinds}
        return {kind: kind[1] if kind[1] and times[kind[1]] == 1 else text for kind, text in whole.items()}

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

    def cell(self, kind: Kind, subset: str) -> int:
        """The rows of a kind in a subset."""
        return sum(self.cells[kind, subset, intent] for intent in ("harmful", "benign"))

    def kind(self, kind: Kind) -> int:
        """The rows of a kind."""
        return sum(self.cell(kind, subset) for subset in SUBSETS)


def count(rows: Iterable[Screened]) -> Counts:
    """Count everything that the card tells of the rows, which are read once."""
    subset_intent: Counter[tuple[str, str]] = Counter()
    cells: Counter[tuple[Kind, str, str]] = Counter()
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
        cells[(scenario.category, scenario.sub_category), scenario.subset, scenario.intent] += 1
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
