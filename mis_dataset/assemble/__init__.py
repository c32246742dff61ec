"""Assemble: turn screened rows into the directory that is published: Parquet, card, Croissant, recipe, manifest.

    README.md                the dataset card, with configs and features in its YAML
    croissant.json           the same for machines: Croissant, with its responsible-AI vocabulary
    recipe.toml              the recipe as written; none if the rows were imported
    manifest.json            what everything is, to the byte; written last
    data/*.parquet           the rows: train, test-easy, test-hard, test-real
    provenance/*.parquet     how each row was made
    assets/*.png             the card's pictures; no images of imported rows, which nobody may have looked at

The directory appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mis_dataset.assemble import columns, layout
from mis_dataset.assemble.card import render_card
from mis_dataset.assemble.chosen import Chosen
from mis_dataset.assemble.counts import count
from mis_dataset.assemble.croissant import render_croissant
from mis_dataset.assemble.facts import BuildFacts, Imported, Quota
from mis_dataset.assemble.folder import fresh_directory
from mis_dataset.assemble.manifest import write_manifest
from mis_dataset.assemble.parquet import FileSize, write_parquet
from mis_dataset.assemble.plot import draw_composition, draw_preview
from mis_dataset.records import SUBSETS, Screened, side_of
from mis_dataset.run.images import ImageStore
from mis_dataset.schema import arrow_schema

__all__ = ["BuildFacts", "Chosen", "Imported", "Quota", "assemble"]


def assemble(rows: Chosen | Sequence[Screened], facts: BuildFacts, images: Path, out: Path, replaces: str = "") -> None:
    """Write a dataset's directory, completely or not at all; equal input gives equal bytes.

    Args:
        rows: the final rows in their final order, with final subsets, intents and twins; as `Chosen` they need not be
            in memory all at once.
        facts: what else the card and the manifest tell.
        images: the folder to which `Picture.path` is relative.
        out: the directory to make; an earlier build with the same fingerprint is replaced.
        replaces: the fingerprint of another dataset that may be replaced.

    Raises:
        OutputError: ``out`` holds something that must not be replaced.
        StorageError: the disk is full, or an image is missing or not the one that was drawn.
    """
    store, chosen = ImageStore(images), rows if isinstance(rows, Chosen) else Chosen.all_of(rows)
    with fresh_directory(out, facts.fingerprint, replaces) as folder:
        files = [*_write_rows(chosen, store, folder), *_write_provenance(chosen, facts, folder)]
        # In the order in which a reader finds them, so that the card can be checked against the files alone.
        ordered = chosen.by_subset()
        counts = count(ordered)
        draw_composition(counts, folder / layout.COMPOSITION)
        if not facts.imported:
            draw_preview(chosen, store, folder / layout.PREVIEW)
            (folder / layout.RECIPE).write_text(facts.recipe_text, encoding="utf-8")
        (folder / layout.CARD).write_text(render_card(ordered, counts, facts, files), encoding="utf-8")
        croissant = render_croissant(counts, facts, {file.path for file in files})
        (folder / layout.CROISSANT).write_text(croissant, encoding="utf-8")
        write_manifest(folder, chosen.outlines, facts, {file.path: file.rows for file in files})


def _write_rows(rows: Chosen, store: ImageStore, folder: Path) -> Iterator[FileSize]:
    def to_row(record: Screened) -> dict[str, Any]:
        return columns.row(record, store.read(record))

    for subset in SUBSETS:
        schema = arrow_schema("row")
        yield from write_parquet(folder, layout.data_stem(subset), schema, rows.of(subset), to_row, store.size)


def _write_provenance(rows: Chosen, facts: BuildFacts, folder: Path) -> Iterator[FileSize]:
    def to_row(record: Screened) -> dict[str, Any]:
        return columns.provenance(record, "" if facts.imported else facts.name, facts.stages)

    # The rows of one side in the order in which the subsets' files follow one another.
    for side in ("train", "test"):
        subsets = [subset for subset in SUBSETS if side_of(subset) == side]
        schema = arrow_schema("provenance")
        yield from write_parquet(folder, f"provenance/{side}", schema, rows.of(*subsets), to_row, _provenance_size)


def _provenance_size(record: Screened) -> int:
    return len(record.label.raw) + 4_000
