"""Telling people how the work goes: bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Sequence
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

from mis_dataset.run.post import PostState

_EVERY_S = 10.0


class Reporter(Protocol):
    """What the line tells as it works; several threads tell it, of several stages."""

    def start(self, stage: str) -> None:
        """A stage begins."""

    def expect(self, stage: str, total: int) -> None:
        """So many items the stage will have seen in the end; may shrink while stages before it lose some."""

    def found(self, stage: str, items: int) -> None:
        """So many more items of the stage are there from an earlier build."""

    def advance(self, stage: str, items: float) -> None:
        """So many more items of the stage are done; fractions where an item has several parts."""

    def finish(self, stage: str, summary: str) -> None:
        """The stage is complete."""

    def note(self, message: str) -> None:
        """Something that a person should know, such as work that is done again."""

    def pulse(self, states: Sequence[PostState]) -> None:
        """How far all stages are; told twice a second, and once more when the line ends."""


class Silent:
    """Says nothing."""

    def start(self, stage: str) -> None:
        """Say nothing."""

    def expect(self, stage: str, total: int) -> None:
        """Say nothing."""

    def found(self, stage: str, items: int) -> None:
        """Say nothing."""

    def advance(self, stage: str, items: float) -> None:
        """Say nothing."""

    def finish(self, stage: str, summary: str) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def pulse(self, states: Sequence[PostState]) -> None:
        """Say nothing."""


class PlainReporter(Silent):
    """A line when a stage ends, and one for all stages at most every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = self._spoken = time.monotonic()

    def finish(self, stage: str, summary: str) -> None:
        """Say what came of the stage."""
        self._line(f"{stage}: {summary} ({time.monotonic() - self._begun:.1f} s)")

    def note(self, message: str) -> None:
        """Say it."""
        self._line(f"note: {message}")

    def pulse(self, states: Sequence[PostState]) -> None:
        """Say how far the stages are, if it is long ago that something was said."""
        if time.monotonic() - self._spoken > _EVERY_S:
            self._line("; ".join(_so_far(state) for state in states if not state.is_complete))

    def _line(self, text: str) -> None:
        self._spoken = time.monotonic()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _so_far(state: PostState) -> str:
    total = "?" if state.total is None else state.total
    return f"{state.stage} {state.found + state.made:.0f} of {total}"


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

    def start(self, stage: str) -> None:
        """Show the stage's bar."""
        self._tasks[stage] = self._progress.add_task(stage, total=None, summary="")

    def expect(self, stage: str, total: int) -> None:
        """Give the bar its length."""
        self._progress.update(self._tasks[stage], total=total)

    def found(self, stage: str, items: int) -> None:
        """Move the bar."""
        self._progress.advance(self._tasks[stage], items)

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

    def pulse(self, states: Sequence[PostState]) -> None:
        """Say nothing more: the bars do."""
