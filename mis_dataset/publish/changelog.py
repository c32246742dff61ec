"""The changelog of a dataset on the Hub: a file that no directory has, with the latest version first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mis_dataset.diff import Diff

_TITLE = "# Changelog\n\nWhat changed from version to version, the latest first. `mis push` writes this file.\n"
_WIDEST = 80


def with_entry(text: str, entry: str) -> str:
    """A changelog with one more entry, on top of the others; ``text`` is empty if there are none."""
    head, heading, rest = text.partition("\n## ") if text else (_TITLE, "", "")
    return f"{head.rstrip()}\n\n{entry}{heading}{rest}"


def first_entry(version: str, rows: int) -> str:
    """What to say of a version that follows none, or none that can be compared with it."""
    return f"## {version}\n\n{rows:,} row{'s'[: rows != 1]}; nothing to compare with.\n"


def entry(version: str, changes: Diff) -> str:
    """What to say of a version that follows another."""
    return "\n".join(_lines(version, changes))


def _lines(version: str, changes: Diff) -> Iterator[str]:
    yield from (f"## {version}", "", f"Since `{changes.before.fingerprint[:12]}`: {changes}.", "")
    moved = {key: sums for key, sums in changes.totals("subset", "sub_category").items() if sums[0] != sums[1]}
    if moved:
        body = ([*(part or "not given" for part in key), then, now] for key, (then, now) in moved.items())
        yield from _table(["subset", "sub-category", "rows before", "rows now"], body)
    if changes.recipe:
        keys = ([f"`{one.key}`", _value(one.before), _value(one.after)] for one in changes.recipe)
        yield from _table(["recipe", "before", "now"], keys)


def _table(columns: list[str], rows: Iterable[list[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
    yield ""


def _value(value: Any) -> str:
    """A recipe's value as code that breaks out of no cell."""
    if value is None:
        return "not set"
    text = json.dumps(value, ensure_ascii=False).replace("|", "\\|").replace("`", "'")
    return f"`{text if len(text) <= _WIDEST else f'{text[: _WIDEST - 1]}…'}`"
