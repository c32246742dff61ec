"""What a model came to on the held-out rows, as it is stored between measuring and reporting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.miniature.answer import answers
from benchmarks.miniature.data import Row
from benchmarks.miniature.judge import Judge
from benchmarks.miniature.lessons import NAMING
from benchmarks.miniature.machine import Machine
from mis_dataset.evaluate.metrics import Outcomes, outcomes_of


@dataclass(frozen=True)
class Score:
    """One model's answers to the held-out rows, judged."""

    diet: str
    """Which rows it was fine-tuned on: ``published`` or ``in_kind``; empty for a base model."""
    variant: str
    """A key of `benchmarks.miniature.variants.VARIANTS`; ``base`` for a base model."""
    seed: int
    outcomes: Outcomes
    """By row."""
    named: dict[str, int]
    """How many of a row's two things the model names when asked what the images show."""
    said: dict[str, str]
    """Its answers, by row."""


def score(
    model: object,
    processor: object,
    rows: Sequence[Row],
    judge: Judge,
    machine: Machine,
    diet: str,
    variant: str,
    seed: int,
) -> Score:
    """Ask a model every held-out row's question, and what its images show."""
    said = answers(model, processor, [(row.question, row.images) for row in rows], machine)
    seen = answers(model, processor, [(NAMING[0], row.images) for row in rows], machine)
    judged = [judge.judge(row, text) for row, text in zip(rows, said, strict=True)]
    return Score(
        diet,
        variant,
        seed,
        outcomes_of(judged),
        {row.id: len(set(row.objects) & judge.named(text)) for row, text in zip(rows, seen, strict=True)},
        {row.id: text for row, text in zip(rows, said, strict=True)},
    )


def save(scores: Sequence[Score], path: Path) -> None:
    """Write scores as JSON, all or nothing."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps([asdict(one) for one in scores], indent=1), encoding="utf-8")
    temporary.replace(path)


def load(path: Path) -> list[Score]:
    """Read what `save` wrote."""
    return [Score(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
