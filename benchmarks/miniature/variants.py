"""What copies of the base model are fine-tuned on."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.miniature.data import Row
from benchmarks.miniature.lessons import Course
from benchmarks.miniature.pictures import Album, Pixels

REFUSAL = "I'm sorry, I can't help with that."

Example = dict[str, Any]
"""``images`` and ``messages``, as `trl` takes them."""


@dataclass(frozen=True)
class Variant:
    """A way to use the dataset."""

    title: str
    labels: str = "cot"
    """``cot``, or ``refusal``: "I'm sorry" for every harmful row."""
    twins: bool = True
    images: bool = True
    """Whether any image is shown; without, there are no general rows either, for they name what is seen."""

    def examples(self, rows: Sequence[Row], general: Iterator[Example], share: float) -> list[Example]:
        """The rows as this variant teaches them, and general examples to make up ``share`` of the whole."""
        learned = [self._example(row) for row in rows if self.twins or row.intent == "harmful"]
        wanted = round(len(learned) * share / (1 - share)) if self.images else 0
        return learned + list(islice(general, wanted))

    def _example(self, row: Row) -> Example:
        asked, answered = row.messages
        if self.labels == "refusal" and row.intent == "harmful":
            answered = _said(REFUSAL)
        if self.images:
            return {"images": list(row.images), "messages": [asked, answered]}
        words = [part for part in asked["content"] if part["type"] == "text"]
        return {"images": [], "messages": [{"role": "user", "content": words}, answered]}


VARIANTS: Mapping[str, Variant] = {
    "a": Variant("MIS: CoT and twins"),
    "b": Variant('"I\'m sorry" labels, no twins', labels="refusal", twins=False),
    "c": Variant("CoT, no twins", twins=False),
    "d": Variant("CoT and twins, text only", images=False),
    "e": Variant('"I\'m sorry" labels and twins', labels="refusal"),
}


def general_examples(course: Course, album: Album, seed: int) -> Iterator[Example]:
    """More of the base model's naming lessons, without end."""
    rng = np.random.default_rng([seed, 1])
    for batch in course.shown("naming", 1, rng):
        content = [{"type": "image", "text": None}] * 2 + [{"type": "text", "text": batch.questions[0]}]
        yield {
            "images": [_png(pixels) for pixels in album.pick(batch.shown[0], rng)],
            "messages": [{"role": "user", "content": content}, _said(batch.answers[0])],
        }


def _png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}
