"""From records of what others made to a dataset directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from mis_dataset.assemble import BuildFacts, assemble
from mis_dataset.assemble.folder import fresh_directory, holds
from mis_dataset.errors import DatasetError
from mis_dataset.intake._rows import Taken
from mis_dataset.records import Picture, Screened
from mis_dataset.run.shards import storage_error
from mis_dataset.seeds import stable_digest
from mis_dataset.validation import validate


def write(taken: Sequence[Taken], facts: BuildFacts, out: Path, source: Path) -> None:
    """Write the rows where they are still out of sight, validate them, and move them to ``out``.

    Raises:
        DatasetError: the rows come to no valid dataset; all problems are listed.
        OutputError: ``out`` holds something else.
        StorageError: the disk is full, or something cannot be written.
    """
    facts = replace(facts, fingerprint=_fingerprint(taken, facts))
    holds(out, facts.fingerprint)
    out = out.resolve()  # what a link names may be another disk, to which nothing can be renamed
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _scratch(out) as scratch:
            made, unpacked = scratch / "made", scratch / "images"
            unpacked.mkdir()
            assemble([_placed(row, unpacked) for row in taken], facts, unpacked, made)
            if problems := [str(problem) for problem in validate(made)]:
                raise DatasetError(f"{source} cannot become a valid dataset; mend it there:", problems)
            with fresh_directory(out, facts.fingerprint) as folder:
                folder.rmdir()
                made.rename(folder)
    except OSError as error:
        raise storage_error(error, out) from error


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` for the time of the block; what a killed import left there goes."""
    beside = out.with_name(f".{out.name}.importing")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        # Of its own: another import to the same place takes it away, but never writes into it.
        with TemporaryDirectory(dir=beside) as own:
            yield Path(own)
    finally:
        with suppress(OSError):
            beside.rmdir()


def _fingerprint(taken: Sequence[Taken], facts: BuildFacts) -> str:
    rows = (
        (
            scenario.id,
            scenario.intent,
            scenario.category,
            scenario.sub_category,
            scenario.origin.source,
            scenario.origin.row,
        )
        for scenario in (row.record.scenario for row in taken)
    )
    return stable_digest("import", facts.name, facts.imported, sorted(asdict(facts.card).items()), *rows)


def _placed(row: Taken, unpacked: Path) -> Screened:
    """The record with pictures whose files can be read: where they lie, or unpacked."""
    found = zip(row.record.pictures, row.images, strict=True)
    pictures = []
    for picture, image in found:
        path = image.path.absolute() if not image.member else unpacked / _file_name(picture)
        if image.member and not path.exists():
            path.write_bytes(image.read())
        pictures.append(replace(picture, path=str(path)))
    return replace(row.record, pictures=tuple(pictures))


def _file_name(picture: Picture) -> str:
    return picture.sha256 + PurePosixPath(picture.path).suffix
