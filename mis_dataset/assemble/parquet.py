"""Parquet files that every version of `datasets` reads, that stream well and that compare byte for byte.

No ``huggingface`` schema metadata (old versions cannot read what new ones write there; the card's YAML has the
features), small row groups and a page index (viewers fetch a few rows, not a file), and content-defined chunks (an
edited dataset uploads only what changed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mis_dataset.records import Screened

MAX_FILE_BYTES = 500_000_000
MAX_GROUP_BYTES = 64_000_000
MAX_GROUP_ROWS = 100

ToRow = Callable[[Screened], dict[str, Any]]
SizeOf = Callable[[Screened], int]


@dataclass(frozen=True)
class FileSize:
    """How much a Parquet file holds."""

    path: str
    """Relative to the dataset's directory, with forward slashes."""
    rows: int
    data_bytes: int
    """As Arrow tables in memory, which is what `datasets` counts."""
    file_bytes: int


def write_parquet(stem: Path, schema: pa.Schema, records: Sequence[Screened], to_row: ToRow, size_of: SizeOf) -> None:
    """Write records as ``stem-00000-of-0000N.parquet``; no more than a row group is in memory at a time.

    Args:
        stem: path and beginning of the file names.
        schema: the columns.
        records: in the order to write.
        to_row: makes a record's row; called once per record.
        size_of: about how many bytes a record's row takes.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = list(_cut(records, size_of, MAX_FILE_BYTES, len(records)))
    for number, members in enumerate(files):
        path = stem.with_name(f"{stem.name}-{number:05d}-of-{len(files):05d}.parquet")
        with pq.ParquetWriter(
            path, schema, compression="zstd", use_content_defined_chunking=True, write_page_index=True
        ) as writer:
            for group in _cut(members, size_of, MAX_GROUP_BYTES, MAX_GROUP_ROWS):
                writer.write_table(pa.Table.from_pylist([to_row(record) for record in group], schema))


def read_groups(path: Path) -> Iterator[pa.Table]:
    """A file's row groups, one at a time.

    Raises:
        OSError: the file cannot be opened, or is damaged inside.
        pyarrow.ArrowInvalid: it is not a Parquet file.
    """
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def measure(directory: Path, path: str) -> FileSize:
    """Read a file to see how much it holds."""
    sizes = [(group.num_rows, group.nbytes) for group in read_groups(directory / path)]
    rows, data_bytes = (sum(column) for column in zip(*sizes, strict=True))
    return FileSize(path, rows, data_bytes, (directory / path).stat().st_size)


def _cut(records: Sequence[Screened], size_of: SizeOf, max_bytes: int, max_rows: int) -> Iterator[Sequence[Screened]]:
    """Consecutive pieces, each as long as both limits allow and at least one record long."""
    start, size = 0, 0
    for place, record in enumerate(records):
        bytes_more = size_of(record)
        if place > start and (size + bytes_more > max_bytes or place - start == max_rows):
            yield records[start:place]
            start, size = place, 0
        size += bytes_more
    if records:
        yield records[start:]
