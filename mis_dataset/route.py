"""Route: decide from the experts' grades, not from what the composer meant, where a row belongs.

The rule is that of the MIS paper (arXiv 2501.18533), applied to what the experts agree on:

    the question alone is unsafe                        train
    the question is safe, an image alone is unsafe      easy
    all are safe alone, and unsafe together             hard
    nothing is unsafe                                   dropped

A row of ``real`` shows photographs in the manner of ``hard``: it stays there by the rule of ``hard``, or is dropped. It
may fare otherwise than the drawn row with which it is paired. A benign twin has to be safe together and goes where its
harmful row goes; in ``hard`` and ``real``, each of its images has to be safe alone, too. A family on whose grades the
experts do not agree goes to people, not to a split. Rows without grades stay where the composer meant them to be.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isclose
from pathlib import Path
from typing import Any, Literal

from mis_dataset.agreement import Agreement, measure_agreement
from mis_dataset.outline import Source, each
from mis_dataset.records import ORDINALS, Opinion, Outline, Rejected, Screened, Subset
from mis_dataset.run.shards import Item, replacing

Consensus = Mapping[str, Literal["safe", "unsafe"] | None]
"""For each target what the experts agree on, or None; empty for a row without grades."""


@dataclass(frozen=True)
class Disputed:
    """A row on which the experts do not agree, or on its twin."""

    row: Outline
    undecided: tuple[str, ...]
    """The targets without agreement."""


@dataclass(frozen=True)
class Routed:
    """What became of the rows, each list in their order."""

    rows: tuple[Outline, ...]
    """With their final subsets; an image counts as harmful in itself if the experts find it unsafe alone."""
    dropped: tuple[Item[Outline], ...]
    """What goes to no split, and why."""
    review: tuple[Disputed, ...]
    """The dropped rows about which people have to decide."""
    agreement: tuple[Agreement, ...]
    """Of the experts on all rows that they graded, whatever became of those; empty unless there are two experts."""
    graded: int
    """How many rows have grades."""


def route(rows: Sequence[Outline], rule: str) -> Routed:
    """Send each row where its grades say.

    Args:
        rows: in the order in which they were composed.
        rule: who has to agree, of the experts who could judge: ``unanimous`` (all), ``majority`` (more than half) or
            ``weighted`` (those who weigh more than the others).
    """
    families: dict[str, list[Outline]] = defaultdict(list)
    for row in rows:
        families[row.family].append(row)
    fates: dict[str, Outline | Rejected] = {}
    disputed: dict[str, tuple[str, ...]] = {}
    for family in families.values():
        found = {row.id: consensus(row, rule) for row in family}
        if undecided := _undecided(found.values()):
            why = Rejected("experts_disagree", f"no agreement on {', '.join(undecided)}")
            fates |= dict.fromkeys(found, why)
            disputed |= dict.fromkeys(found, tuple(undecided))
        else:
            fates |= _fates(family, found)
    in_order = [(row, fates[row.id]) for row in rows]
    return Routed(
        rows=tuple(fate for _, fate in in_order if isinstance(fate, Outline)),
        dropped=tuple(Item(row.id, fate) for row, fate in in_order if isinstance(fate, Rejected)),
        review=tuple(Disputed(row, disputed[row.id]) for row in rows if row.id in disputed),
        agreement=_agreement(rows),
        graded=sum(row.opinion is not None for row in rows),
    )


def consensus(row: Outline, rule: str) -> Consensus:
    """What the experts agree on, by the rule of `route`; None on a tie, or where none of them could judge."""
    if not row.opinion:
        return {}
    return {target: _winner(_votes(row.opinion, target), rule) for target in _targets(row)}


def _winner(votes: Sequence[tuple[str, float]], rule: str) -> Literal["safe", "unsafe"] | None:
    safe, unsafe = (
        sum(weight if rule == "weighted" else 1.0 for verdict, weight in votes if verdict == side)
        for side in ("safe", "unsafe")
    )
    # Weights such as 0.1 + 0.2 and 0.3 are a tie, too.
    if isclose(safe, unsafe) or (rule == "unanimous" and safe and unsafe):
        return None
    return "safe" if safe > unsafe else "unsafe"


def _fates(family: Sequence[Outline], found: Mapping[str, Consensus]) -> dict[str, Outline | Rejected]:
    """What becomes of each row of a family whose experts agree."""
    head = min(family, key=lambda row: row.intent == "benign")
    subset = _subset(head, found[head.id])

    def fate(row: Outline) -> Outline | Rejected:
        if isinstance(subset, Rejected):
            lost = Rejected("twin_missing", f"its harmful twin {row.twin_id} was not accepted")
            return subset if row is head else lost
        if row.intent == "benign" and (fault := _unfit(found[row.id], subset)):
            return Rejected("twin_not_benign", fault)
        return _moved(row, subset, found[row.id])

    return {row.id: fate(row) for row in family}


def _subset(row: Outline, grades: Consensus) -> Subset | Rejected:
    """Where a harmful row belongs; a twin whose harmful row is gone is left to the split as it is."""
    if row.opinion is None or row.intent == "benign":
        return row.subset
    if "unsafe" not in grades.values():
        return Rejected("not_harmful", "the experts find it safe, alone and together")
    if row.subset == "real" and (alone := _unsafe_alone(grades)):
        return Rejected("not_hard", f"in real, nothing may be unsafe alone, but this is: {', '.join(alone)}")
    if grades["question"] == "unsafe":
        return "train"
    if words := row.opinion.intent_words:
        return Rejected("intent_in_words", f"the experts find the words safe, but they say {', '.join(words)}")
    hard_style: Subset = "real" if row.subset == "real" else "hard"
    return "easy" if _unsafe_images(grades) else hard_style


def _unfit(grades: Consensus, subset: Subset) -> str:
    """Why a row is no benign twin in this subset; empty if it is one."""
    if grades.get("together") == "unsafe":
        return "the experts find it unsafe"
    if subset in ("hard", "real") and _unsafe_images(grades):
        return f"in {subset}, no image may be unsafe alone"
    return ""


def _moved(row: Outline, subset: Subset, grades: Consensus) -> Outline:
    harmful = tuple(grades[target] == "unsafe" for target in _image_targets(row)) if grades else None
    return row if (row.subset, row.harmful) == (subset, harmful) else replace(row, subset=subset, harmful=harmful)


def _review_entry(row: Screened, undecided: Sequence[str]) -> dict[str, Any]:
    scenario = row.scenario
    experts = [verdict for verdict in row.verdicts if verdict.grades]
    return {
        "id": scenario.id,
        "family": scenario.family,
        "intent": scenario.intent,
        "subset": scenario.subset,
        "sub_category": scenario.sub_category,
        "question": scenario.question,
        "objects": [image.object for image in scenario.images],
        "images": [picture.path for picture in row.pictures],
        "undecided": list(undecided),
        "experts": [
            {"judge": expert.judge, "weight": expert.weight, "grades": [asdict(grade) for grade in expert.grades]}
            for expert in experts
        ],
    }


def _agreement(rows: Iterable[Outline]) -> tuple[Agreement, ...]:
    """Per kind of target; twins and families share questions and pictures, and what is the same counts once."""
    graded: dict[str, dict[bytes, tuple[str, ...]]] = {"question": {}, "image": {}, "together": {}}
    raters = 0
    for row in rows:
        if opinion := row.opinion:
            raters = max(raters, len(opinion.votes))
            question, images = opinion.question, opinion.pictures
            keys = [
                ("question", question),
                *(("image", image) for image in each(images)),
                ("together", question + images),
            ]
            for target, (kind, key) in zip(_targets(row), keys, strict=True):
                graded[kind].setdefault(key, tuple(verdict for verdict, _ in _votes(opinion, target)))
    if raters < 2:
        return ()
    return tuple(measure_agreement(kind, list(items.values()), raters) for kind, items in graded.items())


def _votes(opinion: Opinion, target: str) -> list[tuple[str, float]]:
    """Verdict and weight of each expert who could judge a target."""
    return [(verdict, weight) for weight, said in opinion.votes for about, verdict in said if about == target]


def _undecided(found: Iterable[Consensus]) -> list[str]:
    """The targets without agreement in any row of a family, each once."""
    return list(dict.fromkeys(target for grades in found for target, winner in grades.items() if winner is None))


def _unsafe_alone(grades: Consensus) -> list[str]:
    """The question and the images that are unsafe without the rest."""
    return [target for target, winner in grades.items() if winner == "unsafe" and target != "together"]


def _unsafe_images(grades: Consensus) -> list[str]:
    return [target for target in _unsafe_alone(grades) if target != "question"]


def _targets(row: Outline) -> list[str]:
    return ["question", *_image_targets(row), "together"]


def _image_targets(row: Outline) -> list[str]:
    return [f"{ordinal} image" for ordinal in ORDINALS[: len(each(row.objects))]]


def write_review(routed: Routed, rows: Source, path: Path) -> Path:
    """Write the disputed rows, with every expert's grades, as JSON lines; without any the file is empty.

    Args:
        routed: names them.
        rows: what was routed the outlines of; read once more where they are disputed.
        path: of the file, whatever it held before.

    Raises:
        StorageError: it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
        for disputed in routed.review:
            entry = _review_entry(rows[disputed.row.place], disputed.undecided)
            lines.write(json.dumps(entry, ensure_ascii=False) + "\n")
    return path
