"""Intake: datasets that others made, read strictly and written as ours, so that all that works on ours works on them.

A format is a dataclass with one method, ``read(files)``, in a file of this folder that bears its name; its fields are
its options. It yields rows as far as they are known, and notes whatever is wrong with them, to be told all at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mis_dataset import policy
from mis_dataset.assemble import BuildFacts, Imported
from mis_dataset.assemble.manifest import peek_manifest
from mis_dataset.errors import UsageError
from mis_dataset.formats._formats import Formats
from mis_dataset.funnel import FunnelStep
from mis_dataset.intake._files import Files
from mis_dataset.intake._rows import Taken, take
from mis_dataset.intake._write import write
from mis_dataset.recipe import CardSpec
from mis_dataset.records import Screened

__all__ = ["Files", "Report", "Taken", "available", "import_dataset", "make_format", "read_all"]

_FORMATS = Formats("import", __name__)
available, make_format = _FORMATS.available, _FORMATS.make


@dataclass(frozen=True)
class Report:
    """What came of an import."""

    rows: int
    left_out: Mapping[str, Sequence[str]]
    """By reason, the rows that were not taken."""


def import_dataset(
    format: str,  # noqa: A002  # what it is called on the command line
    source: Path,
    out: Path,
    options: Mapping[str, Any] | None = None,
    *,
    images: Path | None = None,
    name: str | None = None,
    card: CardSpec | None = None,
    multi_image_only: bool = False,
) -> Report:
    """Write somebody else's dataset as a dataset directory that `mis validate` finds nothing wrong with, or not at all.

    Rows in which words for minors and sexual words meet are left out; of what else the rows say, nothing is judged.

    Args:
        format: a name of `available`.
        source: the folder, or a file of it.
        out: the directory to make; an earlier import of the same rows is replaced.
        options: the format's own.
        images: the folder from which the paths of images start; None: that of ``source``.
        name: what the dataset is called; None: as ``source`` is.
        card: what the card says beyond the data; None: a licence that is unknown.
        multi_image_only: leave out rows that have one image, none, or more than four, instead of refusing them.

    Raises:
        UsageError: there is no such format or option, or the source is not there, or has no rows. Or the Hub would not
            take the card.
        DatasetError: rows are broken; all problems are listed. Or they come to no valid dataset.
        OutputError: ``out`` holds something else.
        StorageError: the disk is full, or something cannot be written.
    """
    reader = make_format(format, options or {})
    called = source.resolve().name
    card = card or CardSpec(pretty_name=name or called, license="unknown")
    if mistakes := card.mistakes():
        raise UsageError(f"the card cannot say so: {'; '.join(mistakes)}")
    if peek_manifest(source):
        raise UsageError(f"{source} is a dataset of `mis` already; use it as it is")
    files = Files(source, reader.remedy, images=images, multi_image_only=multi_image_only)
    rows = read_all(reader, files, f"{source} as {format}")
    unsafe = {row.record.scenario.id: row.where for row in rows if _unsafe_for_minors(row.record)}
    kept = [row for row in rows if row.record.scenario.id not in unsafe]
    left_out = {"not_two_to_four_images": files.passed_over, "unsafe_for_minors": list(unsafe.values())}
    left_out = {reason: rows for reason, rows in left_out.items() if rows}
    if not kept:
        counted = ", ".join(f"{len(rows):,} {reason}" for reason, rows in left_out.items())
        why = f"all are left out ({counted})" if counted else "it is empty"
        raise UsageError(f"{source} as {format} has no rows to take: {why}; {reader.remedy}")
    facts = BuildFacts(
        name=name or called,
        recipe_text="",
        fingerprint="",
        stages={},
        funnel=(
            FunnelStep("import", "accepted", "", len(kept)),
            *(FunnelStep("import", "rejected", reason, len(rows)) for reason, rows in left_out.items()),
        ),
        quotas=(),
        rounds=0,
        card=card,
        imported=Imported(format, called),
    )
    write(kept, facts, out, source)
    return Report(len(kept), left_out)


def read_all(reader: Any, files: Files, what: str) -> list[Taken]:
    """All rows that a format reads.

    Args:
        reader: the format.
        files: where it reads.
        what: how a message calls them.

    Raises:
        DatasetError: rows or images are broken; all problems are listed.
    """
    entries = list(reader.read(files))
    for entry in entries:
        for problem in entry.misspellings():
            files.note(entry.where, problem)
    # Before the images are decoded, which takes the time, and would not mend what is wrong already.
    files.refuse(what)
    taken = take(entries, files)
    files.refuse(what)
    return taken


def _unsafe_for_minors(record: Screened) -> bool:
    return policy.unsafe_for_minors((record.scenario.question, record.label.response))
