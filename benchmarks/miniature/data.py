"""The miniature's data: a dataset built by this package, cut to what a small model can read, and divided.

The test rows are *held-out* families of the subsets easy and hard. Nothing that a model learns from, base training
included, shows a pair of things that a held-out row shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mis_dataset.pipeline import build
from mis_dataset.recipe import Recipe, load_recipe
from mis_dataset.records import Intent, prose
from mis_dataset.seeds import stable_digest

RECIPE = Path(__file__).with_name("recipe.toml")

_HELD_OUT, _VALIDATING = (0, 3), (1,)
"""Lots of six that a thing draws."""

Pair = frozenset[str]
"""Two things, by their names with articles; the order in which they are shown does not matter."""


@dataclass(frozen=True)
class Row:
    """A row of the dataset with two images, and its label in short."""

    id: str
    twin_id: str | None
    subset: str
    category: str
    sub_category: str
    relation: str
    intent: Intent
    question: str
    images: tuple[bytes, bytes]
    """Encoded."""
    objects: tuple[str, str]
    response: str
    """What both images show, then the first sentence of the label's reasoning and of its answer."""
    closing: str
    """That first sentence of the answer: here the label declines or helps."""
    messages: tuple[dict[str, Any], ...]
    """The dataset's own, but for the shortened response."""

    @property
    def pair(self) -> Pair:
        """What the images show."""
        return frozenset(self.objects)


@dataclass(frozen=True)
class Rows:
    """All rows with two images, divided."""

    published: tuple[Row, ...]
    """The subset train: its words state the intent."""
    in_kind: tuple[Row, ...]
    """Families of easy and hard that are there to be learned from."""
    held_out: tuple[Row, ...]
    """Families of easy and hard on which models are compared."""

    @property
    def learned(self) -> tuple[Row, ...]:
        """Whatever is not held out."""
        return self.published + self.in_kind


def build_rows(work: Path, recipe: Recipe | None = None, *, validating: bool = False) -> Rows:
    """Build the dataset below ``work``, unless it is there already, and divide it.

    Raises:
        MisError: see `mis_dataset.pipeline.build`.
    """
    out = work / "mis"
    build(recipe or load_recipe(RECIPE), out, work / "build")
    return divide(read(out), validating=validating)


def read(directory: Path) -> list[Row]:
    """The rows of a dataset's directory that have two images, in its order."""
    tables = [pq.read_table(path) for path in sorted((directory / "data").glob("*.parquet"))]
    return [_row(row) for table in tables for row in table.to_pylist() if len(row["images"]) == 2]


def divide(rows: Iterable[Row], *, validating: bool = False) -> Rows:
    """Hold out a third of the things around which families of easy and hard are made, with all their families.

    A family's two rows share one thing: the one that the twin does not swap. Every family around a held-out thing is
    held out; rows that show a held-out pair by chance are left out of what is learned.

    Args:
        rows: The dataset's.
        validating: Leave out what would be held out, and hold out a sixth in its place: what settings are chosen by.
    """
    rows = list(rows)
    of = {row.id: row for row in rows}

    def lot(row: Row) -> int | None:
        """Of six, the one that a row's family has drawn."""
        twin = of.get(row.twin_id or "")
        shared = row.pair & twin.pair if twin else frozenset[str]()
        return int(stable_digest(*shared)[:8], 16) % 6 if row.subset != "train" and len(shared) == 1 else None

    if validating:
        rows = _without(rows, [row for row in rows if lot(row) in _HELD_OUT])
    held_out = [row for row in rows if lot(row) in (_VALIDATING if validating else _HELD_OUT)]
    learned = _without(rows, held_out)
    return Rows(
        tuple(row for row in learned if row.subset == "train"),
        tuple(row for row in learned if row.subset != "train"),
        tuple(held_out),
    )


def _without(rows: Iterable[Row], others: Iterable[Row]) -> list[Row]:
    """The rows that show no pair that the others show."""
    pairs = {row.pair for row in others}
    return [row for row in rows if row.pair not in pairs]


def things(rows: Iterable[Row]) -> list[str]:
    """Every thing that is shown, by name, sorted."""
    return sorted({name for row in rows for name in row.objects})


def first_sentence(text: str) -> str:
    """Up to the first full stop, question mark or exclamation mark that a space or the end follows."""
    return re.split(r"(?<=[.?!])\s", text, maxsplit=1)[0]


def _row(row: dict[str, Any]) -> Row:
    closing = first_sentence(row["answer"])
    response = prose(row["perception"], first_sentence(row["reasoning"]), closing)
    return Row(
        **{key: row[key] for key in ("id", "twin_id", "subset", "category", "sub_category", "relation", "intent")},
        question=row["question"],
        images=_pair([image["bytes"] for image in row["images"]]),
        objects=_pair(row["objects"]),
        response=response,
        closing=closing,
        messages=(*row["messages"][:-1], {"role": "assistant", "content": [{"type": "text", "text": response}]}),
    )


def _pair(values: Sequence[Any]) -> tuple[Any, Any]:
    first, second = values
    return first, second
