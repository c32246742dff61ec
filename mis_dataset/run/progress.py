"""Telling people how the work goes: bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Reporter(Protocol):
    """What the executor tells as it works."""

    def start(self, stage: str, total: int, done: int) -> None:
        """A stage begins; ``done`` of its ``total`` items are there from an earlier build."""

    def advance(self, stage: str, items: float) -> None:
        """So many more items of the stage are done; fractions where an item has several parts."""

    def finish(self, stage: str, summary: str) -> None:
        """The stage is complete."""

    def note(self, message: str) -> None:
        """Something that a person should know, such as work that is done again."""


class Silent:
    """Says nothing."""

    def start(self, stage: str, total: int, done: int) -> None:
        """Say nothing."""

    def advance(self, stage: str, items: float) -> None:
        """Say nothing."""

    def finish(self, stage: str, summary: str) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""


class PlainReporter:
    """One line when a stage begins and ends, and one at most every ten seconds in between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done = 0.0
        self._total = 0
        self._begun = self._spoken = 0.0

    def start(self, stage: str, total: int, done: int) -> None:
        """Remember the totals; the stage's line comes when it ends."""
        self._done, self._total = done, total
        self._begun = self._spoken = time.monotonic()
        if done and done < total:
            self._line(f"{stage}: {done} of {total} items are done already")

    def advance(self, stage: str, items: float) -> None:
        """Say how far the stage is, if it is long ago that something was said."""
        self._done += items
        if time.monotonic() - self._spoken > 10:
            self._spoken = time.monotonic()
            self._line(f"{stage}: {self._done:.0f} of {self._total} items")

    def finish(self, stage: str, summary: str) -> None:
        """Say what came of the stage."""
        self._line(f"{stage}: {summary} ({time.monotonic() - self._begun:.1f} s)")

    def note(self, message: str) -> None:
        """Say it."""
        self._line(f"note: {message}")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class BarReporter:
    """One progress bar per stage; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[summary]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> BarReporter:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, stage: str, total: int, done: int) -> None:
        """Show the stage's bar."""
        self._tasks[stage] = self._progress.add_task(stage, total=total, completed=done, summary="")

    def advance(self, stage: str, items: float) -> None:
        """Move the bar."""
        self._progress.advance(self._tasks[stage], items)

    def finish(self, stage: str, summary: str) -> None:
        """Fill the bar and write the summary behind it."""
        task = self._tasks[stage]
        self._progress.update(task, completed=self._progress.tasks[task].total, summary=summary)

    def note(self, message: str) -> None:
        """Print above the bars."""
        self._progress.console.print(f"note: {message}", markup=False, highlight=False)
