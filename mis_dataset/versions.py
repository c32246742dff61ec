"""Versions: a dataset that grows keeps every row that it had.

A recipe with larger quotas goes on from the dataset in ``--out``: it is built as that one was, and then further. What
it went on from is part of the recipe that it carries, ``[[earlier]]``, so that building it anew gives the same bytes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mis_dataset.assemble.layout import RECIPE
from mis_dataset.assemble.manifest import peek_manifest
from mis_dataset.diff import Version
from mis_dataset.errors import DatasetError, OutputError, StorageError
from mis_dataset.recipe import Cell, Recipe, fewer
from mis_dataset.records import Screened

_ANOTHER = "choose another --out"


@dataclass(frozen=True)
class _Held:
    """The dataset in a directory, so far as its versions go."""

    fingerprint: str
    stages: Mapping[str, str]
    versions: tuple[Mapping[Cell, int], ...]
    """The quotas of each, oldest first."""
    recipe: Mapping[str, Any]
    """All that its versions have in common."""

    @classmethod
    def read(cls, out: Path) -> _Held | None:
        """None if there is no dataset that a recipe built."""
        manifest = peek_manifest(out)
        if manifest is None:
            return None
        try:
            versions, recipe = _parts((out / RECIPE).read_text(encoding="utf-8"))
            return cls(str(manifest["fingerprint"]), dict(manifest["stages"]), versions, recipe)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def is_of(self, recipe: Recipe) -> bool:
        """Whether nothing tells it from the recipe but quotas and how many rounds it takes to meet them."""
        _, ours = _parts(recipe.canonical())
        return {**self.recipe, "limits": None} == {**ours, "limits": None}


def continued(recipe: Recipe, out: Path) -> Recipe:
    """The recipe as one that goes on from the version of it in ``out``; unchanged if there is none.

    Raises:
        OutputError: that version has rows for which the recipe has no room.
    """
    held = _Held.read(out)
    if held is None or not held.is_of(recipe):
        return recipe
    last = held.versions[-1]
    if last == recipe.quotas and not recipe.earlier:
        return replace(recipe, earlier=held.versions[:-1])
    if recipe.earlier not in ((), held.versions):
        return recipe
    if less := fewer(last, recipe.quotas):
        cell, rows = next(iter(less.items()))
        raise OutputError(
            f"{out} holds a version of this dataset with larger quotas ({' / '.join(cell)}: {rows}, now "
            f"{recipe.quotas.get(cell, 0)}), and a version keeps all rows; ask for as many, or {_ANOTHER}"
        )
    if (rounds := held.recipe["limits"]["max_rounds"]) != recipe.limits.max_rounds:
        raise OutputError(
            f"{out} holds a smaller version of this dataset with limits.max_rounds = {rounds}; name as many, so that "
            f"its rows can stay, or {_ANOTHER}"
        )
    return replace(recipe, earlier=held.versions)


def smaller_version(out: Path, recipe: Recipe, stages: Mapping[str, str]) -> str:
    """The fingerprint of the dataset in ``out`` from which a recipe goes on; empty if it holds no such thing.

    Args:
        out: the dataset's directory.
        recipe: as `continued` gives it.
        stages: the fingerprints of its first round.

    Raises:
        OutputError: the rows there were made otherwise, and cannot stay.
    """
    held = _Held.read(out)
    if held is None or not recipe.earlier or held.versions != recipe.earlier or not held.is_of(recipe):
        return ""
    if other := [stage for stage, made in stages.items() if held.stages.get(stage) != made]:
        raise OutputError(
            f"{out} holds a smaller version of this dataset, but {other[0]} would make its rows otherwise now (a "
            f"backend, its model or its files have changed), so that they cannot stay; {_ANOTHER}"
        )
    return held.fingerprint


def check_kept(out: Path, rows: Iterable[Screened]) -> None:
    """See that all rows of the dataset in ``out`` are among ``rows``, with the same images and labels.

    Raises:
        OutputError: some are not; which is possible where answers came from a server and were not kept.
        StorageError: the dataset there cannot be read.
    """
    try:
        published = dict(_published(out))
    except (OSError, DatasetError, KeyError) as error:
        why = "; ".join(error.problems) if isinstance(error, DatasetError) else error
        raise StorageError(f"{out} cannot be read: {why}; move it away, and build without it") from error
    for row in rows:
        if published.get(row.scenario.id) == _content(row):
            del published[row.scenario.id]
    if published:
        raise OutputError(
            f"{len(published)} row{'s'[: len(published) != 1]} of {out} would not stay the same (the first is "
            f"{next(iter(published))}); name the --work with which it was built, where its images and answers are, or "
            f"{_ANOTHER}"
        )


_Content = tuple[str, str | None, tuple[str, ...]]
"""A row's question, its response, and the SHA-256 of each image."""


def _content(row: Screened) -> _Content:
    return row.scenario.question, row.label.response, tuple(picture.sha256 for picture in row.pictures)


def _published(out: Path) -> Iterator[tuple[str, _Content]]:
    """Every row of a dataset by its id; reads no image."""
    version = Version.local(out)
    images = version.image_digests()
    for path in version.data_files:
        for row in version.rows(path, ["id", "question", "response"]):
            yield row["id"], (row["question"], row["response"], images[row["id"]])


def _parts(recipe: str) -> tuple[tuple[Mapping[Cell, int], ...], Mapping[str, Any]]:
    """A canonical recipe's quotas, oldest first, and all the rest."""
    rest = tomllib.loads(recipe)
    tables = [*rest.pop("earlier", []), rest.pop("quotas")]
    return tuple(map(_cells, tables)), rest


def _cells(table: Mapping[str, Mapping[str, int]]) -> Mapping[Cell, int]:
    return {(subset, name): rows for subset, shares in table.items() for name, rows in shares.items()}
