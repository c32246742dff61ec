"""The command line in a process of its own, for what only a process has: signals, limits, clocks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


def build_command(folder: Path) -> list[str]:
    """Build ``recipe.toml`` of a folder into its ``mis``, with its ``work``."""
    return ["build", str(folder / "recipe.toml"), "--out", str(folder / "mis"), "--work", str(folder / "work")]


def finish(process: subprocess.Popen[str]) -> Done:
    """Wait for a command's end."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return Done(process.returncode, out, err)


@contextmanager
def mis(
    arguments: Sequence[str], *, before: Sequence[str] = (), paths: Sequence[Path] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Start ``mis``, by way of another command if need be; it ends with the block.

    Args:
        arguments: its own.
        before: a command that starts the one that is appended to it.
        paths: where Python looks for modules first.
    """
    path = os.pathsep.join(map(str, [*paths, *filter(None, sys.path)]))
    command = [*before, sys.executable, "-m", "mis_dataset", *arguments]
    pipe = subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(happened: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.005)
