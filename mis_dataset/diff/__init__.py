"""Diff: what changed from one version of a dataset to another.

Rows are known by their ids. Texts are compared by digest, images by the SHA-256 that their provenance names (to which
`mis validate` holds them), so that no image is read: two versions of any size are compared by their light columns, and
a data file that both have is taken for what it is, the same.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from mis_dataset.diff.recipes import KeyChange, key_changes
from mis_dataset.diff.version import Version
from mis_dataset.records import SUBSETS
from mis_dataset.schema import arrow_schema

__all__ = ["IMAGES", "LABELS", "Cell", "Changed", "Diff", "KeyChange", "Side", "Version", "compare"]

IMAGES = "images"
LABELS = ("response", "perception", "reasoning", "answer")
"""What a teacher writes; the other columns come from the composer."""

_DIGEST_BYTES = 8
_ORDER: dict[str, int] = {subset: place for place, subset in enumerate(SUBSETS)}


class Cell(NamedTuple):
    """Rows of one kind; what an imported row does not say is empty."""

    subset: str
    sub_category: str
    intent: str


@dataclass(frozen=True)
class Side:
    """One of the two versions."""

    place: str
    name: str
    """The recipe's, or that under which it was imported."""
    fingerprint: str
    rows: int


@dataclass(frozen=True)
class Changed:
    """A row that both versions have, and not alike."""

    id: str
    columns: tuple[str, ...]
    """Those that differ, in the dataset's order."""


@dataclass(frozen=True)
class Diff:
    """What changed."""

    before: Side
    after: Side
    added: tuple[str, ...]
    """The ids of new rows, in order."""
    removed: tuple[str, ...]
    changed: tuple[Changed, ...]
    same: int
    """How many rows are as they were."""
    is_reordered: bool
    """Whether rows that both have come in another order within a subset."""
    cells: Mapping[Cell, tuple[int, int]] = field(hash=False)
    """Rows of each kind before and after."""
    recipe: tuple[KeyChange, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not (self.added or self.removed or self.changed or self.is_reordered or self.recipe)

    @property
    def columns(self) -> dict[str, int]:
        """In how many of the changed rows each column differs, the columns in the dataset's order."""
        counts = Counter(column for row in self.changed for column in row.columns)
        return {name: counts[name] for name in arrow_schema("row").names if counts[name]}

    @property
    def shift(self) -> float:
        """How far the mix of subsets, sub-categories and intents moved: the total variation distance, 0 to 1."""
        before, after = max(self.before.rows, 1), max(self.after.rows, 1)
        return sum(abs(now / after - then / before) for then, now in self.cells.values()) / 2

    def totals(self, *names: str) -> dict[tuple[str, ...], tuple[int, int]]:
        """`cells`, added up over all but the named parts of a `Cell`."""
        found: dict[tuple[str, ...], tuple[int, int]] = {}
        for cell, (then, now) in self.cells.items():
            key = tuple(getattr(cell, name) for name in names)
            sums = found.get(key, (0, 0))
            found[key] = sums[0] + then, sums[1] + now
        return found

    def __str__(self) -> str:
        """In one line."""
        if self.is_empty:
            return f"nothing changed in {self.same:,} row{'s'[: self.same != 1]}"
        columns = ", ".join(f"{name} {rows:,}" for name, rows in self.columns.items())
        parts = [
            f"{len(self.added):,} row{'s'[: len(self.added) != 1]} added",
            f"{len(self.removed):,} removed",
            f"{len(self.changed):,} changed{f' ({columns})' if columns else ''}",
            f"{self.same:,} the same{', in another order' if self.is_reordered else ''}",
            *([f"{len(self.recipe):,} key{'s'[: len(self.recipe) != 1]} of the recipe changed"] if self.recipe else []),
        ]
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """All of it, for `json.dumps`."""
        cells = [{**cell._asdict(), "before": then, "after": now} for cell, (then, now) in self.cells.items()]
        return {
            **asdict(self),
            "cells": cells,
            "columns": self.columns,
            "shift": round(self.shift, 6),
            "is_empty": self.is_empty,
        }


def compare(before: Version, after: Version) -> Diff:
    """What changed from one version to the other; holds a few hundred bytes a row of what they do not share.

    Raises:
        DatasetError: a file of one of them cannot be read.
    """
    shared = {path for path in before.data_files if _digest_of(before, path) == _digest_of(after, path)}
    cells: dict[Cell, list[int]] = {}
    same, is_reordered = 0, False
    for path in (path for path in after.data_files if path in shared):
        for cell in _cells(after, path):
            same += 1
            for place in (0, 1):
                cells.setdefault(cell, [0, 0])[place] += 1

    left: dict[str, _Row] = {}
    for row in _rows(before, shared):
        cells.setdefault(row.cell, [0, 0])[0] += 1
        left[row.id] = row
    added: list[str] = []
    changed: list[Changed] = []
    furthest: dict[str, int] = {}
    for row in _rows(after, shared):
        cells.setdefault(row.cell, [0, 0])[1] += 1
        if (known := left.pop(row.id, None)) is None:
            added.append(row.id)
            continue
        if known.cell.subset == row.cell.subset:
            is_reordered |= known.place < furthest.get(row.cell.subset, 0)
            furthest[row.cell.subset] = max(known.place, furthest.get(row.cell.subset, 0))
        if columns := row.differing(known):
            changed.append(Changed(row.id, columns))
        else:
            same += 1
    counts = {cell: (then, now) for cell, (then, now) in sorted(cells.items(), key=_taxonomic)}
    return Diff(
        before=_side(before, sum(then for then, _ in counts.values())),
        after=_side(after, sum(now for _, now in counts.values())),
        added=tuple(added),
        removed=tuple(left),
        changed=tuple(changed),
        same=same,
        is_reordered=is_reordered,
        cells=counts,
        recipe=tuple(key_changes(before.recipe(), after.recipe())),
    )


_COMPARED = [name for name in arrow_schema("row").names if name not in ("id", "images", "messages")]
"""Columns that are compared by what they say; `messages` says what `question` and `response` say."""


class _Row(NamedTuple):
    """What is kept of a row to compare it."""

    id: str
    cell: Cell
    place: int
    """In its version."""
    digests: bytes
    """Of its images, and of each column of `_COMPARED`."""

    def differing(self, other: _Row) -> tuple[str, ...]:
        """The columns in which two rows differ."""
        starts = range(0, len(self.digests), _DIGEST_BYTES)
        pairs = ((self.digests[at : at + _DIGEST_BYTES], other.digests[at : at + _DIGEST_BYTES]) for at in starts)
        return tuple(name for name, (one, two) in zip((IMAGES, *_COMPARED), pairs, strict=True) if one != two)


def _rows(version: Version, left_out: Collection[str]) -> Iterator[_Row]:
    paths = [path for path in version.data_files if path not in left_out]
    images = version.image_digests() if paths else {}
    place = 0
    for path in paths:
        for row in version.rows(path, ["id", *_COMPARED]):
            # A row without provenance is for `mis validate` to tell.
            values = [images.get(row["id"], ()), *(row[name] for name in _COMPARED)]
            yield _Row(row["id"], _cell(row), place, b"".join(map(_digest, values)))
            place += 1


def _cells(version: Version, path: str) -> Iterator[Cell]:
    return map(_cell, version.rows(path, ["subset", "sub_category", "intent"]))


def _cell(row: Mapping[str, Any]) -> Cell:
    # Interned: there are few, and as many rows as there may be.
    return Cell(*(sys.intern(row[name] or "") for name in Cell._fields))


def _taxonomic(item: tuple[Cell, Any]) -> tuple[int, str, bool]:
    cell = item[0]
    return _ORDER[cell.subset], cell.sub_category, cell.intent == "benign"


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=_DIGEST_BYTES).digest()


def _digest_of(version: Version, path: str) -> str:
    return str(version.files.get(path, {}).get("sha256"))


def _side(version: Version, rows: int) -> Side:
    return Side(version.place, version.manifest["name"], version.manifest["fingerprint"], rows)
