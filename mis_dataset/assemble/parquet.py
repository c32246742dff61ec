"""Parquet files that every version of `datasets` reads, that stream well and that compare byte for byte.

No ``huggingface`` schema metadata (old versions cannot read what new ones write there; the card's YAML has the
features), small row groups and a page index (viewers fetch a few rows, not a file), and content-defined chunks (an
edited dataset uploads only what changed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from mis_dataset.records import Screened

MAX_FILE_BYTES = 500_000_000
MAX_GROUP_BYTES = 64_000_000
MAX_GROUP_ROWS = 100

_RowGroup = list[dict[str, Any]]
ToRow = Callable[[Screened], dict[str, Any]]
SizeOf = Callable[[Screened], int]
Made = TypeVar("Made")


@dataclass(frozen=True)
class FileSize:
    """How much a Parquet file holds."""

    path: str
    """Relative to the dataset's directory, with forward slashes."""
    rows: int
    data_bytes: int
    """As Arrow tables in memory, which is what `datasets` counts."""
    file_bytes: int


def write_parquet(
    directory: Path, stem: str, schema: pa.Schema, records: Iterable[Screened], to_row: ToRow, size_of: SizeOf
) -> list[FileSize]:
    """Write records as ``stem-00000-of-0000N.parquet`` and say how much each file holds.

    The records of one row group, and their images, are read while the group before it is encoded.

    Args:
        directory: the dataset's.
        stem: beginning of the files' paths, relative to the directory.
        schema: the columns.
        records: in the order to write; read once, in a thread of its own.
        to_row: makes a record's row; called once per record, in that thread.
        size_of: about how many bytes a record's row takes.
    """
    (directory / stem).parent.mkdir(parents=True, exist_ok=True)
    groups = _one_ahead(_groups(records, to_row, size_of))
    # How many files there are, which their names tell, shows at the end.
    files = [
        _write_file(directory, f"{stem}-{number:05d}", schema, (rows for _, rows in members))
        for number, members in groupby(groups, key=itemgetter(0))
    ]
    return [_named(directory, file, f"{file.path}-of-{len(files):05d}.parquet") for file in files]


def read_groups(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """A file's row groups, one at a time; all columns, or those that are named.

    Raises:
        OSError: the file cannot be opened, or is damaged inside.
        pyarrow.ArrowInvalid: it is not a Parquet file.
    """
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns)


def _write_file(directory: Path, path: str, schema: pa.Schema, groups: Iterable[_RowGroup]) -> FileSize:
    heavy = [field.name for field in schema if _holds_bytes(field.type)]
    rows = data_bytes = 0
    with pq.ParquetWriter(
        directory / path, schema, compression="zstd", use_content_defined_chunking=True, write_page_index=True
    ) as writer:
        for group in groups:
            rows += len(group)
            data_bytes += _write_group(writer, group, heavy)
    # Arrow reads numbers with a bitmap that they were written without, so the rest is measured as it is read.
    light = [name for name in schema.names if name not in heavy]
    data_bytes += sum(group.nbytes for group in read_groups(directory / path, light))
    return FileSize(path, rows, data_bytes, (directory / path).stat().st_size)


def _named(directory: Path, file: FileSize, path: str) -> FileSize:
    (directory / file.path).rename(directory / path)
    return replace(file, path=path)


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether there are encoded images in it."""
    return pa.types.is_binary(kind) or any(_holds_bytes(kind.field(place).type) for place in range(kind.num_fields))


def _write_group(writer: pq.ParquetWriter, rows: _RowGroup, heavy: list[str]) -> int:
    """Write a row group, empty the list, and return what the ``heavy`` columns take as Arrow tables."""
    table = pa.Table.from_pylist(rows, writer.schema)
    rows.clear()  # the table has the images now; the memory is for those of the next group
    writer.write_table(table)
    size = int(table.select(heavy).nbytes)
    del table
    pa.default_memory_pool().release_unused()
    return size


def _one_ahead(groups: Iterator[Made]) -> Iterator[Made]:
    """Each group, made while the one before it is in use."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, groups, None)
        while (group := coming.result()) is not None:
            coming = maker.submit(next, groups, None)
            yield group


def _groups(records: Iterable[Screened], to_row: ToRow, size_of: SizeOf) -> Iterator[tuple[int, _RowGroup]]:
    """Row groups, each with the number of its file; both as long as the limits allow and at least one row long."""
    rows: _RowGroup = []
    file = file_rows = file_bytes = group_bytes = 0
    for record in records:
        size = size_of(record)
        file_is_full = file_rows > 0 and file_bytes + size > MAX_FILE_BYTES
        if rows and (file_is_full or group_bytes + size > MAX_GROUP_BYTES or len(rows) == MAX_GROUP_ROWS):
            yield file, rows
            rows, group_bytes = [], 0
        if file_is_full:
            file, file_rows, file_bytes = file + 1, 0, 0
        rows.append(to_row(record))
        file_rows, file_bytes, group_bytes = file_rows + 1, file_bytes + size, group_bytes + size
    if rows:
        yield file, rows
