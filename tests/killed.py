"""A process that builds and kills: it imports everything once, and forks a child for each build.

It starts no thread, so that its children begin as clean as a fresh process. A line of JSON in, one out::

    {"recipe": …, "out": …, "work": …, "mark": "screened", "after_s": 0.02}
    {"was_killed": true, "marks": {"begun": 5271.2, "screened": 5271.9}, "error": ""}

A child is killed ``after_s`` seconds after it has come to ``mark``, or never if that is empty.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mis_dataset.compose import Brief
from mis_dataset.compose.grammar import GrammarComposer
from mis_dataset.errors import MisError
from mis_dataset.pipeline import build
from mis_dataset.recipe import load_recipe
from mis_dataset.run.progress import Silent

MARKS = {"compose": "composed", "teach": "taught", "screen": "screened"}
"""What the end of a stage is called."""
_LOOK_EVERY_S = 0.001
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Ending:
    """How a build ended."""

    was_killed: bool
    marks: Mapping[str, float]
    """How far it came, and when, in seconds: ``begun``, those of `MARKS`, ``assembling``, ``done``."""
    error: str
    """``StorageError: no space …``; a traceback, where it is no `MisError`."""


class Killer:
    """The process, from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def build(self, recipe: Path, out: Path, work: Path, mark: str = "", after_s: float = 0.0) -> Ending:
        """Build, and have it killed ``after_s`` seconds after it has come to ``mark``."""
        order = {"recipe": str(recipe), "out": str(out), "work": str(work), "mark": mark, "after_s": after_s}
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return Ending(**json.loads(self._process.stdout.readline()))


@contextmanager
def killing(*before: str) -> Iterator[Killer]:
    """Start the process, by way of another command if need be; it ends with the block."""
    command, environment = [*before, sys.executable, __file__], os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Killer(process)
        finally:
            process.kill()


class Marks(Silent):
    """Tells when a build begins, and when a stage ends."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def tell(self, name: str, what: object) -> None:
        os.write(self._pipe, f"{json.dumps([name, what])}\n".encode())

    def start(self, stage: str) -> None:
        if stage == "compose":
            self.tell("begun", time.monotonic())

    def finish(self, stage: str, summary: str) -> None:
        if stage in MARKS:
            self.tell(MARKS[stage], time.monotonic())


def _serve() -> None:
    # Reads the grammar, which takes longer than a small build.
    list(GrammarComposer().compose(Brief(0, {("hard", "Identity Theft"): 1}, 0.0)))
    for line in sys.stdin:
        ending = _run(json.loads(line))
        for name in ending.pop("modules"):
            with suppress(ImportError):
                importlib.import_module(name)
        print(json.dumps(ending), flush=True)


def _run(order: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _build(order, Marks(writing))
    os.close(writing)
    os.set_blocking(reading, False)
    heard, told = bytearray(), dict[str, Any]()
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until and "done" not in told and (not order["mark"] or order["mark"] not in told):
        select.select([reading], [], [], _LOOK_EVERY_S)
        _listen(order, reading, heard, told)
    if order["mark"]:
        time.sleep(order["after_s"])
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    _listen(order, reading, heard, told)
    os.close(reading)
    modules, error = told.pop("modules", []), told.pop("error", "")
    return {"was_killed": "done" not in told, "marks": told, "modules": modules, "error": error or _strange(status)}


def _listen(order: dict[str, Any], pipe: int, heard: bytearray, told: dict[str, Any]) -> None:
    """Take in the whole lines that the child has told, and look whether it assembles."""
    with suppress(BlockingIOError):
        while data := os.read(pipe, 1 << 16):
            heard += data
    *lines, rest = bytes(heard).split(b"\n")
    heard[:] = rest
    told |= [json.loads(line) for line in lines]
    out = Path(order["out"])
    if "assembling" not in told and out.with_name(f".{out.name}.partial").exists():
        told["assembling"] = time.monotonic()


def _build(order: dict[str, Any], marks: Marks) -> None:
    """Build, in a child, which ends here."""
    try:
        build(load_recipe(Path(order["recipe"])), Path(order["out"]), Path(order["work"]), reporter=marks)
        marks.tell("modules", sorted(sys.modules))
    except MisError as error:
        marks.tell("error", f"{type(error).__name__}: {error}")
    except BaseException:  # noqa: BLE001 - whatever it is, it is for the test to see
        marks.tell("error", traceback.format_exc())
    finally:
        marks.tell("done", time.monotonic())
        os._exit(0)


def _strange(status: int) -> str:
    """What is wrong about the end of a child that was neither killed nor told of an error."""
    is_fine = (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL) or status == 0
    return "" if is_fine else f"the child ended with {status}"


if __name__ == "__main__":
    _serve()
