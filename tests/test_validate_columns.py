"""Looking at columns finds a fault exactly where looking at every row does."""

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from samples import STAGES, sample_rows

from mis_dataset.assemble import columns
from mis_dataset.records import Grade, Verdict
from mis_dataset.schema import arrow_schema, checker, load_schema
from mis_dataset.validation.columns import TableChecker, conforms

Path = tuple[str | int, ...]


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[str, list[dict[str, Any]]]:
    records = sample_rows(tmp_path_factory.mktemp("images"), 4)
    grades = (Grade("together", "unsafe", 0.9, "It is."),)
    graded = (Verdict("expert", "pass", "", "", grades, 2.0),)
    records = [replace(record, verdicts=record.verdicts + graded) for record in records]
    return {
        "row": [columns.row(record, [b"image" for _ in record.pictures]) for record in records],
        "provenance": [columns.provenance(record, "sample", STAGES) for record in records],
    }


def table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, arrow_schema(name))


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of everything in a row."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def damaged(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The row with something else of the same type, or nothing, in one place; not always is that wrong."""
    row = copy.deepcopy(row)
    *way, last = rng.choice(list(places(row)))
    holder: Any = row
    for key in way:
        holder = holder[key]
    match holder[last]:
        case str() as text:
            others = ["", "unsafe", text[:-1], f"{text} ", text.upper(), "mis-0123456789abcdef"]
        case bool() as value:
            others = [not value]
        case float():
            others = [-0.5, 0.0, 1.5]
        case int():
            others = [-1, 0, 1]
        case list() as items:
            others = [[], items[:1], items * 3]
        case _:
            others = []
    holder[last] = rng.choice([None, *others])
    return row


# What is certain by columns must be what jsonschema lets pass, row by row; and nothing else, or there is no fast path.
@pytest.mark.parametrize("name", ["row", "provenance"])
def test_columns_and_jsonschema_agree_on_damaged_rows(rows, name):
    rng, check, found = random.Random(name), checker(load_schema(name)), set[bool]()
    for _ in range(400):
        group = table(name, [*rows[name][:2], damaged(rng.choice(rows[name]), rng)])
        is_sound = not any(check(row) for row in group.to_pylist())
        assert conforms(group, load_schema(name)) == is_sound
        found.add(is_sound)
    assert found == {True, False}


@pytest.mark.parametrize("name", ["row", "provenance"])
def test_the_same_problems_are_told_as_by_jsonschema(rows, name):
    rng, check = random.Random(name), checker(load_schema(name))
    group = table(name, [damaged(row, rng) for row in rows[name] * 3])
    assert list(TableChecker(load_schema(name)).rows(group)) == [(row, check(row)) for row in group.to_pylist()]


@pytest.mark.parametrize("name", ["row", "provenance"])
def test_a_slice_is_judged_by_its_own_rows(rows, name):
    broken = rows[name][0] | {"id": "broken"}
    group = table(name, [broken, *rows[name], broken])
    assert conforms(group.slice(1, len(rows[name])), load_schema(name))
    assert not conforms(group.slice(1), load_schema(name))


# Python's "$" lets a line end pass, Arrow's does not: what columns doubt, jsonschema decides.
def test_columns_may_doubt_what_is_right(rows):
    group = table("row", [rows["row"][0] | {"id": "mis-0123456789abcdef\n"}])
    assert not conforms(group, load_schema("row"))
    assert [problems for _, problems in TableChecker(load_schema("row")).rows(group)] == [[]]


def test_an_empty_table_is_sound():
    assert conforms(table("row", []), load_schema("row"))


# Were a keyword overlooked, rows that break it would pass.
def test_an_unknown_keyword_makes_nothing_certain():
    group = pa.table({"id": ["a"]})
    assert conforms(group, {"properties": {"id": {"type": "string"}}})
    assert not conforms(group, {"properties": {"id": {"type": "string", "maxLength": 5}}})
