"""What the commands share: where they print, and how a build's progress is shown."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from mis_dataset.run.place import work_beside
from mis_dataset.run.progress import BarReporter, PlainReporter, Reporter, Silent

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
work_option = click.option(
    "--work",
    type=click.Path(path_type=Path),
    help="Where finished work is kept.  [default: 'work' beside the dataset]",
)


def default_work(out: Path, work: Path | None) -> Path:
    """The work folder: the one that was named, or ``work`` beside the dataset."""
    return work or work_beside(out)


def console(*, quiet: bool = False) -> Console:
    """Where results go: standard output, or nowhere."""
    return Console(quiet=quiet, soft_wrap=True, highlight=False)


@contextmanager
def reporting(*, quiet: bool) -> Iterator[Reporter]:
    """A reporter on standard error, bars on a terminal and plain lines elsewhere; notes what the package logs, too."""
    screen = Console(stderr=True, highlight=False)
    with ExitStack() as ending:
        reporter: Reporter
        if quiet:
            reporter = Silent()
        elif screen.is_terminal:
            reporter = ending.enter_context(BarReporter(screen))
        else:
            reporter = PlainReporter(screen)
        ending.enter_context(_noting(reporter))
        yield reporter


@contextmanager
def _noting(reporter: Reporter) -> Iterator[None]:
    """Within the block, what the package logs are notes: how a renderer uses its GPU, how long drawing will take."""
    logger, handler = logging.getLogger("mis_dataset"), _Notes(reporter)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _Notes(logging.Handler):
    """Passes log records on to a reporter."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        self._reporter.note(record.getMessage())


@contextmanager
def busy(message: str, *, quiet: bool) -> Iterator[None]:
    """A spinner on a terminal while something without parts goes on; nothing elsewhere."""
    screen = Console(stderr=True, highlight=False)
    if quiet or not screen.is_terminal:
        yield
    else:
        with screen.status(message):
            yield


def table(title: str, columns: list[str], rows: list[list[Any]]) -> str:
    """A plain table whose number columns are right-aligned, for people and for pipes alike."""
    cells = [columns, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    numeric = [all(re.fullmatch(r"[\d,.?~-]*", row[place]) for row in cells[1:]) for place in range(len(columns))]

    def line(row: list[str]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        return "  " + "  ".join(padded).rstrip()

    return "\n".join([title, *map(line, cells)])
