"""Records as published rows: what goes into which column.

What is not known of an imported row is empty in the record, and null or an empty list in the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from mis_dataset.records import ImageSpec, Picture, Screened


def row(record: Screened, images: Sequence[bytes]) -> dict[str, Any]:
    """The public row; follows ``row.schema.json``.

    Args:
        record: a screened scenario with its final subset, intent, twin and pair.
        images: the encoded images, in the question's order.
    """
    scenario, label = record.scenario, record.label
    return {
        "id": scenario.id,
        "images": [
            {"bytes": data, "path": f"{scenario.id}-{number}{PurePosixPath(picture.path).suffix}"}
            for number, (data, picture) in enumerate(zip(images, record.pictures, strict=True), 1)
        ],
        "question": scenario.question,
        "response": label.response or None,
        "perception": list(label.perception),
        "reasoning": label.reasoning or None,
        "answer": label.answer or None,
        "messages": conversation(scenario.question, label.response, len(images)),
        "category": scenario.category or None,
        "sub_category": scenario.sub_category or None,
        "subset": scenario.subset,
        "intent": scenario.intent,
        "twin_id": scenario.twin_id,
        "relation": scenario.relation or None,
        "objects": [image.object for image in scenario.images if image.object],
    }


def conversation(question: str, response: str | None, images: int) -> list[dict[str, Any]]:
    """Question and response, if there is one, as chat messages, with one image part per image before the question."""
    shown = [{"type": "image", "text": None}] * images
    asked = {"role": "user", "content": [*shown, {"type": "text", "text": question}]}
    return [asked, {"role": "assistant", "content": [{"type": "text", "text": response}]}] if response else [asked]


def provenance(record: Screened, recipe: str, stages: Mapping[str, str]) -> dict[str, Any]:
    """The provenance row; follows ``provenance.schema.json``.

    Args:
        record: the record of the row with the same id.
        recipe: the recipe's name; empty if there is none.
        stages: each stage's fingerprint; empty if there are none.
    """
    scenario, label = record.scenario, record.label
    return {
        "id": scenario.id,
        "pair_id": scenario.pair_id,
        "recipe": recipe or None,
        "origin": asdict(scenario.origin),
        "fingerprints": dict(stages) or None,
        "images": [
            {**_spec(image), **_picture(picture)}
            for image, picture in zip(scenario.images, record.pictures, strict=True)
        ],
        "teacher": {
            "model": label.teacher,
            "revision": label.revision,
            "raw": label.raw,
            "prompt_tokens": label.prompt_tokens,
            "completion_tokens": label.completion_tokens,
            "critiques": list(label.critiques),
        },
        "verdicts": [
            {**asdict(verdict), "grades": [asdict(grade) for grade in verdict.grades]} for verdict in record.verdicts
        ],
    }


def _spec(image: ImageSpec) -> dict[str, Any]:
    # Of an image that nobody named, nobody said either whether it is harmful.
    return {"object": image.object, "harmful": image.harmful} if image.object else {"object": None, "harmful": None}


def _picture(picture: Picture) -> dict[str, Any]:
    values = {**asdict(picture), "attempts": [asdict(attempt) for attempt in picture.attempts]}
    if not picture.model:
        values |= {"seed": None, "attempt": None, "batch": None}  # nobody knows how it was made
    # Where it lay in the work folder is nobody's business afterwards.
    return {name: value for name, value in values.items() if name != "path"}
