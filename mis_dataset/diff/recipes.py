"""What differs between two recipes, key by key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KeyChange:
    """A key that two recipes do not have alike; None where one lacks it."""

    key: str
    """Its path, such as ``quotas.train.Cybercrimes`` or ``screen[0].backend``."""
    before: Any
    after: Any


def key_changes(before: Any, after: Any, key: str = "") -> Iterator[KeyChange]:
    """Every key at which two TOML values differ; what only one of them has is one change as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from key_changes(before.get(name), after.get(name), f"{key}.{name}" if key else name)
    elif _is_tables(before) and _is_tables(after) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from key_changes(one, other, f"{key}[{number}]")
    elif before != after:
        yield KeyChange(key, before, after)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
