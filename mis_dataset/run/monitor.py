"""The monitor: writes down how a build goes, for `mis status --watch` and for programs, while it goes."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any

from mis_dataset.budget import Cost
from mis_dataset.errors import MisError, StorageError
from mis_dataset.ledger import Ledger
from mis_dataset.run.post import PostState
from mis_dataset.run.progress import Reporter
from mis_dataset.run.shards import replacing
from mis_dataset.run.state import progress_path
from mis_dataset.traffic import Traffic

_EVERY_S = 1.0
_HEARTBEAT_S = 5.0
"""How often a build that has nothing to tell says that it is alive."""
_SILENCE_S = 30.0
"""A build that has not told anything for so long is taken for dead."""
_WINDOW_S = 60.0
"""Rates are means over so much of the past."""


class Monitor:
    """A reporter that passes everything on and keeps ``progress/….json`` in the work folder; a context manager.

    Args:
        reporter: is told what the monitor is told.
        work: the work folder.
        out: the dataset's directory.
    """

    def __init__(self, reporter: Reporter, work: Path, out: Path) -> None:
        self._reporter = reporter
        self._path = progress_path(work, out)
        self._ledger: Ledger | None = None
        self._costs: Sequence[Cost] = ()
        self._traffic: Sequence[Traffic] = ()
        self._round = 0
        self._doing = ""
        self._states: Sequence[PostState] = ()
        self._past: deque[tuple[float, dict[str, float]]] = deque()
        self._written = float("-inf")
        self._ending = Event()
        self._heart = Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Monitor:
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ending.set()
        self._heart.join()
        # On a full disk, what ended the build is what a person has to see.
        with suppress(StorageError) if kind else nullcontext():
            self._write("stopped" if kind else "finished", str(error) if isinstance(error, Exception) else "")

    @contextmanager
    def watching(self, ledger: Ledger) -> Iterator[None]:
        """Within the block a ledger tells the costs, and what became of requests; they stay as it told them last."""
        self._ledger = ledger
        try:
            yield
        finally:
            # A ledger whose keeper is lost has said so where it was asked for more than its costs.
            with suppress(MisError):
                self._look()
            self._ledger = None

    def begin_round(self, number: int) -> None:
        """Rates begin anew with the ``number``-th round, counted from 1."""
        self._round, self._doing = number, "making shards"
        self._past.clear()

    def turn_to(self, doing: str) -> None:
        """What is done from here on, in a few words, where no stage is at work."""
        self._doing = doing
        self._write("running", "")

    def start(self, stage: str) -> None:
        """Pass it on."""
        self._reporter.start(stage)

    def expect(self, stage: str, total: int) -> None:
        """Pass it on."""
        self._reporter.expect(stage, total)

    def found(self, stage: str, items: int) -> None:
        """Pass it on."""
        self._reporter.found(stage, items)

    def advance(self, stage: str, items: float) -> None:
        """Pass it on."""
        self._reporter.advance(stage, items)

    def finish(self, stage: str, summary: str) -> None:
        """Pass it on."""
        self._reporter.finish(stage, summary)

    def note(self, message: str) -> None:
        """Pass it on."""
        self._reporter.note(message)

    def pulse(self, states: Sequence[PostState]) -> None:
        """Write the states down, once a second at most, and pass them on."""
        self._states = states
        now = time.monotonic()
        if now - self._written >= _EVERY_S:
            self._written = now
            self._look()
            self._past.append((now, {state.stage: state.made for state in states}))
            while now - self._past[0][0] > _WINDOW_S:
                self._past.popleft()
            self._write("running", "")
        self._reporter.pulse(states)

    def _look(self) -> None:
        if self._ledger:
            self._costs, self._traffic = self._ledger.costs(), self._ledger.traffic()

    def _beat(self) -> None:
        while not self._ending.wait(_HEARTBEAT_S):
            # What is wrong with the disk shows where it matters.
            with suppress(StorageError):
                self._write("running", "")

    def _write(self, state: str, why: str) -> None:
        progress = {
            "state": state,
            "why": why,
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            "pid": os.getpid(),
            "host": _here(),
            "round": self._round,
            "doing": self._doing,
            "stages": [self._told(state) for state in self._states],
            "servers": [asdict(one) | {"error_rate": round(one.error_rate, 4)} for one in self._traffic],
            "costs": [asdict(cost) for cost in self._costs],
        }
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps(progress, indent=2) + "\n", encoding="utf-8")

    def _told(self, state: PostState) -> dict[str, Any]:
        done = state.found + state.made
        rate = self._rate(state)
        left = None if state.total is None else max(0.0, state.total - done)
        return asdict(state) | {
            "done": round(done, 2),
            "per_second": round(rate, 3),
            "eta_s": round(left / rate, 1) if rate and left is not None else None,
            "idle": round(state.idle, 3),
        }

    def _rate(self, state: PostState) -> float:
        """Items a second: over the last minute, or over all its time where the stage is complete."""
        if state.is_complete:
            return state.made / state.elapsed_s if state.elapsed_s else 0.0
        if not self._past:
            return 0.0
        begun, made = self._past[0]
        seconds = time.monotonic() - begun
        return max(0.0, (state.made - made.get(state.stage, 0.0)) / seconds) if seconds > 0 else 0.0


@dataclass(frozen=True)
class Progress:
    """What a monitor wrote last."""

    told: Mapping[str, Any]
    """As ``progress/….json`` has it."""
    age_s: float
    """Seconds since it was written."""
    is_gone: bool
    """Whether its process is known to have ended."""

    @property
    def state(self) -> str:
        """``running``, ``stopped``, ``finished``, or ``silent``: running, but gone, or quiet for long."""
        state: str = self.told["state"]
        return "silent" if state == "running" and (self.is_gone or self.age_s > _SILENCE_S) else state


def load_progress(work: Path, out: Path) -> Progress | None:
    """How the last build into ``out`` goes or went; None if it told nothing that can be read."""
    path = progress_path(work, out)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if is_gone := _is_gone(told):
            # It may have said its last word in between.
            told = json.loads(path.read_text(encoding="utf-8"))
        return Progress(told, max(0.0, time.time() - path.stat().st_mtime), is_gone) if "state" in told else None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError):
        return None


def _is_gone(told: Mapping[str, Any]) -> bool:
    """Whether the process that told is known to have ended; one of another machine may always be at work."""
    # On Windows, to ask would be to end it.
    if os.name != "posix" or told.get("host") != _here():
        return False
    try:
        os.kill(told["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _here() -> str:
    """This machine, and where there are several on it, the container: within it, a process's number is its own."""
    container = Path()
    with suppress(OSError):
        container = Path("/proc/self/ns/pid").readlink()
    return f"{socket.gethostname()} {container}"
