"""JSON written one value at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Add = Callable[[Any], None]


@contextmanager
def json_array(path: Path) -> Iterator[Add]:
    """A file with a JSON array, one value a line; yields what adds a value."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        before = "\n"

        def add(value: Any) -> None:
            nonlocal before
            file.write(before + compact(value))
            before = ",\n"

        file.write("[")
        yield add
        file.write("\n]\n")


@contextmanager
def json_lines(path: Path) -> Iterator[Add]:
    """A file with one JSON value a line; yields what adds a value."""
    with path.open("w", encoding="utf-8", newline="\n") as file:

        def add(value: Any) -> None:
            file.write(f"{compact(value)}\n")

        yield add


def write_json(path: Path, value: Any) -> None:
    """A file with one JSON value, for people to read."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def compact(value: Any) -> str:
    """A JSON value on one line."""
    return json.dumps(value, ensure_ascii=False)
