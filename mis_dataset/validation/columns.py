"""Rows against their JSON Schema, looked at by columns first and one by one only where something is wrong.

Arrow's types rule out most of what a schema forbids: other types, missing and additional keys. What is left (nulls,
lengths, patterns, enumerations, bounds) is quickly found by columns. A group of rows of which the columns tell that all
is well is well; of any other, `jsonschema` looks at every row and words the problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mis_dataset.schema import checker

_DEMAND_NOTHING = {"$schema", "title", "description"}
_SEEN_TO_BY_ARROW = {"properties", "required", "additionalProperties", "items", "contentEncoding"}
_CHECKED = {"type", "pattern", "enum", "minLength", "minimum", "maximum", "minItems", "maxItems"}
_KNOWN = _DEMAND_NOTHING | _SEEN_TO_BY_ARROW | _CHECKED


class TableChecker:
    """Checks tables with the Arrow types of a schema of rows.

    Args:
        schema: of a row.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._problems = checker(schema)

    def rows(self, table: pa.Table) -> Iterator[tuple[dict[str, Any], list[str]]]:
        """Every row, and what is wrong with it."""
        is_sound = conforms(table, self._schema)
        for row in table.to_pylist():
            yield row, [] if is_sound else self._problems(row)


def conforms(table: pa.Table, schema: Mapping[str, Any]) -> bool:
    """Whether all rows certainly follow a schema; no says nothing but that they have to be looked at.

    Args:
        table: with the types that `mis_dataset.schema.arrow_schema` derives from the schema.
        schema: of a row; a keyword that is not known here makes nothing certain.
    """
    return all(_follows(chunk, inner) for key, inner in schema["properties"].items() for chunk in table[key].chunks)


def _follows(array: pa.Array, schema: Mapping[str, Any]) -> bool:
    if any(keyword not in _KNOWN and not keyword.startswith("x-") for keyword in schema):
        return False
    if array.null_count:
        if "null" not in schema["type"]:
            return False
        array = array.drop_null()
    return all(_holds(array, keyword, bound) for keyword, bound in schema.items()) and all(
        _follows(inner, part) for inner, part in _parts(array, schema)
    )


def _parts(array: pa.Array, schema: Mapping[str, Any]) -> Iterator[tuple[pa.Array, Mapping[str, Any]]]:
    """What lists hold, and the fields of structs, with their schemas; the array has no nulls."""
    if "items" in schema:
        yield array.flatten(), schema["items"]
    elif "properties" in schema:
        yield from ((array.field(key), inner) for key, inner in schema["properties"].items())


def _holds(array: pa.Array, keyword: str, bound: Any) -> bool:
    """Whether no value breaks what one keyword of a schema demands."""
    match keyword:
        case "pattern":
            held = pc.match_substring_regex(array, bound)
        case "enum":
            held = pc.is_in(array, pa.array(bound, array.type))
        case "minLength":
            held = pc.greater_equal(pc.utf8_length(array), bound)
        case "minimum":
            held = pc.greater_equal(array, bound)
        case "maximum":
            held = pc.less_equal(array, bound)
        case "minItems":
            held = pc.greater_equal(pc.list_value_length(array), bound)
        case "maxItems":
            held = pc.less_equal(pc.list_value_length(array), bound)
        case _:
            return True
    return bool(pc.all(held, min_count=0).as_py())
