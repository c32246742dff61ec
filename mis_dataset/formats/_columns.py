"""Whether a file's columns are those of a dataset: somebody may have edited it since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from mis_dataset.schema import arrow_schema

_NEEDED = ("id", "images", "question", "subset", "intent")
"""What no row can be exported without; of the rest, nothing may be known."""


def other_columns(file: pq.ParquetFile, names: Iterable[str]) -> Iterator[str]:
    """What is wrong with columns of rows: those that are missing, or have another type."""
    theirs, ours = file.schema_arrow, arrow_schema("row")
    for name in names:
        if name not in theirs.names:
            yield f"it has no {name}"
        elif _stored(file.schema, name) != _stored(_own_schema(), name):
            yield f"the column {name} is {theirs.field(name).type}, and should be {ours.field(name).type}; cast it"


def first_gap(rows: pa.RecordBatch) -> tuple[int, str] | None:
    """The place of a row that has null where it needs a value, and what is wrong with it; None if there is none."""
    for name in _NEEDED:
        if name in rows.schema.names and _has_nulls(rows[name]):
            for place, value in enumerate(rows[name].to_pylist()):
                if value is None:
                    return place, f"null as its {name}"
                if isinstance(value, list) and None in value:
                    return place, f"null among its {name}"
    return None


def _stored(schema: pq.ParquetSchema, name: str) -> dict[str, str]:
    """How a column's values are stored: the same for ``string`` and ``large_string``, which other tools write."""
    columns = [schema.column(place) for place in range(len(schema))]
    parts = [column for column in columns if column.path.split(".")[0] == name]
    return {part.path: f"{part.physical_type} {part.logical_type}" for part in parts}


@cache
def _own_schema() -> pq.ParquetSchema:
    file = BytesIO()
    pq.write_table(arrow_schema("row").empty_table(), file)
    return pq.ParquetFile(file).schema


def _has_nulls(column: pa.Array) -> bool:
    """Quickly, and without copying images."""
    held = column.flatten().null_count if isinstance(column, (pa.ListArray, pa.LargeListArray)) else 0
    return bool(column.null_count + held)
