"""Export: a dataset in the layout of another tool, streamed row by row.

A format is a dataclass with one method, ``write(source, out)``, in a file of this folder that bears its name; its
fields are its options. It writes into a fresh folder, and what it writes depends on the rows and options alone, so that
exporting again gives the same bytes. Which rows it is for, it says as ``takes``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mis_dataset.errors import UsageError
from mis_dataset.formats._folder import check_free, fresh_folder
from mis_dataset.formats._formats import Formats
from mis_dataset.formats.source import EVERYTHING, Choice, Counts, Source

__all__ = ["Plan", "available", "carry_out", "export", "find_format", "plan_export"]

_logger = logging.getLogger(__name__)

_FORMATS = Formats("export", __name__, besides=("source",))
available, find_format = _FORMATS.available, _FORMATS.find


@dataclass(frozen=True)
class Plan:
    """An export that was checked as far as it can be without writing."""

    source: Source
    """With the rows that will be written, and no others."""
    writer: Any
    """The format, with its options."""
    out: Path
    counts: Mapping[str, Counts]
    """By subset."""

    @property
    def rows(self) -> int:
        """How many rows will be written."""
        return sum(counts.rows for counts in self.counts.values())

    @property
    def left_out(self) -> int:
        """How many benign rows of the same subsets will not."""
        return sum(counts.left_out for counts in self.counts.values())

    @property
    def warning(self) -> str:
        """That rows stay out which have more images than the format was told to take; empty if there are none."""
        if not (rows := sum(counts.too_many_images for counts in self.counts.values())):
            return ""
        most = self.source.most_images
        return f"{rows:,} test rows with more than {most} images stay out; the option max_images=4 takes them along"


def plan_export(
    directory: Path,
    format: str,  # noqa: A002  # what it is called on the command line
    out: Path,
    options: Mapping[str, Any] | None = None,
    *,
    subsets: Sequence[str] = (),
    intent: Choice | None = None,
) -> Plan:
    """Check an export and count its rows; writes nothing and reads no image.

    Args:
        directory: the dataset's.
        format: a name of `available`.
        out: the folder to make; absent, or empty.
        options: the format's own.
        subsets: which to export; empty for those that the format is for.
        intent: which rows; None for those that the format is for.

    Raises:
        UsageError: there is no such format, option or subset, or no row is left.
        DatasetError: the directory is no dataset, or two of its rows have one id.
        OutputError: ``out`` is in use, or lies inside the dataset.
    """
    writer = _FORMATS.make(format, options or {})
    source = Source.open(directory)
    takes = getattr(writer, "takes", EVERYTHING)
    chosen = source.only(subsets or takes.subsets(source), intent or takes.intent, takes.most_images)
    check_free(out, directory)
    plan = Plan(chosen, writer, out, chosen.counts())
    if not plan.rows:
        why = plan.warning or f"no harmful rows in {', '.join(chosen.subsets)}; choose intent 'all'"
        raise UsageError(f"{directory} has nothing to export: {why}")
    return plan


def export(
    directory: Path,
    format: str,  # noqa: A002
    out: Path,
    options: Mapping[str, Any] | None = None,
    *,
    subsets: Sequence[str] = (),
    intent: Choice | None = None,
    on_row: Callable[[], None] = lambda: None,
) -> Plan:
    """Write a dataset into a folder in the layout of another tool: completely, or not at all.

    Args:
        directory, format, out, options, subsets, intent: see `plan_export`.
        on_row: called after each row.

    Returns:
        What was written.

    Raises:
        UsageError, DatasetError, OutputError: see `plan_export`; or a row that the format cannot hold.
        StorageError: the disk is full, or something cannot be written.
    """
    plan = plan_export(directory, format, out, options, subsets=subsets, intent=intent)
    if plan.warning:
        _logger.warning("%s", plan.warning)
    carry_out(plan, on_row)
    return plan


def carry_out(plan: Plan, on_row: Callable[[], None] = lambda: None) -> None:
    """Write what `plan_export` has checked.

    Raises:
        DatasetError: a row that the format cannot hold.
        StorageError: the disk is full, or something cannot be written.
    """
    with fresh_folder(plan.out) as folder:
        plan.writer.write(replace(plan.source, on_row=on_row), folder)
