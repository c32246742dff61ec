"""``mis diff``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mis_dataset.cli._console import busy, console, quiet_option, table
from mis_dataset.errors import UsageError

if TYPE_CHECKING:
    from mis_dataset.diff import Diff

_SHOWN = 20
"""Rows that are named; JSON has all."""
_WIDEST = 48
"""Letters of a recipe's value that are shown."""


@click.command(
    epilog="""\b
Examples:
  mis diff build/mis-1 build/mis
  mis diff my-org/mis@v1.0.0 build/mis    what a push would change
  mis diff build/mis-1 build/mis --json"""
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, with the ids of all rows.")
@quiet_option
def diff(first: str, second: str, as_json: bool, quiet: bool) -> None:
    """Say what changed from dataset A to dataset B: rows, images, labels, other columns, shares and recipe keys.

    A and B are directories, or ORG/NAME or ORG/NAME@REVISION on the Hugging Face Hub, of which only the texts are read.

    The exit code is that of diff(1): 0 if nothing changed, 1 if something did, 2 if there was trouble.
    """
    from httpx2 import HTTPError

    from mis_dataset.diff import Version, compare

    try:
        with busy(f"comparing {first} and {second}", quiet=quiet or as_json):
            found = compare(Version.find(first), Version.find(second))
    except (HTTPError, OSError) as error:
        said = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"{first} and {second} cannot be compared ({said}); check the network, and try again"
        ) from error
    show = console(quiet=quiet)
    show.print(json.dumps(found.as_json(), indent=2, ensure_ascii=False) if as_json else report(found), markup=False)
    if not found.is_empty:
        raise click.exceptions.Exit(1)


def report(found: Diff) -> str:
    """What changed, as tables."""
    sides = [
        [letter, side.place, side.name, side.fingerprint[:12], f"{side.rows:,}"]
        for letter, side in (("A", found.before), ("B", found.after))
    ]
    parts = [table("Compared", ["", "place", "dataset", "fingerprint", "rows"], sides), str(found)]
    return "\n\n".join([*parts, *_tables(found)])


def _tables(found: Diff) -> Iterator[str]:
    if found.columns:
        rows = [[name, _kind(name), f"{count:,}"] for name, count in found.columns.items()]
        yield table("Changed columns", ["column", "kind", "rows"], rows)
    if found.added or found.removed or any(then != now for then, now in found.cells.values()):
        yield _counts("Rows by subset and intent", ("subset", "intent"), found)
        yield _counts("Rows by sub-category that changed", ("subset", "sub_category"), found, all_=False)
        yield f"The mix of subsets, sub-categories and intents shifted by {100 * found.shift:.1f} % of the rows."
    if found.recipe:
        rows = [[one.key, _short(one.before), _short(one.after)] for one in found.recipe]
        yield table("Recipe", ["key", "A", "B"], rows)
    if found.changed:
        yield _named("Changed rows", ["row", "columns"], [[row.id, ", ".join(row.columns)] for row in found.changed])
    if found.removed:
        yield _named("Removed rows", ["row"], [[name] for name in found.removed])
    if found.added:
        yield _named("Added rows", ["row"], [[name] for name in found.added])


def _counts(title: str, names: tuple[str, ...], found: Diff, *, all_: bool = True) -> str:
    """Rows and shares before and after; all, or those whose number changed."""
    before, after = found.before.rows, found.after.rows
    rows = [
        [
            *(part or "not given" for part in key),
            f"{then:,}",
            f"{now:,}",
            _signed(now - then),
            f"{_share(then, before)} → {_share(now, after)}",
        ]
        for key, (then, now) in found.totals(*names).items()
        if all_ or then != now
    ]
    width = max((len(row[-2]) for row in rows), default=0)
    columns = [*(name.replace("_", "-") for name in names), "A", "B", "change".rjust(width), "share"]
    return table(title, columns, [[*row[:-2], row[-2].rjust(width), row[-1]] for row in rows])


def _named(title: str, columns: list[str], rows: list[list[str]]) -> str:
    """The first rows of a list, and how many more there are."""
    listed = table(title, columns, rows[:_SHOWN])
    return f"{listed}\n  … and {len(rows) - _SHOWN:,} more; --json has all" if len(rows) > _SHOWN else listed


def _kind(column: str) -> str:
    from mis_dataset.diff import IMAGES, LABELS

    return "image" if column == IMAGES else "label" if column in LABELS else "other"


def _signed(number: int) -> str:
    return f"{number:+,}" if number else "0"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 0.0:4.1f} %"


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
