"""WebDataset: tar files in which the files of a row follow one another.

A row is ``<id>.json`` (all columns but the images' bytes) and ``<id>.1.png``, ``<id>.2.png`` and so on: what stands
before the first dot is the row's key, what follows is the name of the part. Source: "The WebDataset Format" in
https://github.com/webdataset/webdataset, and ``webdataset/tariterators.py`` of the package, version 1.0.2.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from mis_dataset.formats._images import names, pictures
from mis_dataset.formats._json import compact
from mis_dataset.formats.source import Source, Takes
from mis_dataset.options import option


@dataclass(frozen=True, kw_only=True)
class Webdataset:
    """Shards of every subset, with as many rows each."""

    takes: ClassVar = Takes("both", "all")

    shard_rows: int = option(500, "Rows of a shard at most.", minimum=1)

    def write(self, source: Source, out: Path) -> None:
        """Write ``mis-<subset>-000000.tar`` and so on."""
        for subset in source.subsets:
            for number, rows in enumerate(_cut(source.rows(subset), self.shard_rows)):
                with tarfile.open(out / f"mis-{subset}-{number:06d}.tar", "w", format=tarfile.PAX_FORMAT) as shard:
                    for row in rows:
                        _add(shard, row)


def _add(shard: tarfile.TarFile, row: dict[str, Any]) -> None:
    images = pictures(row)
    known = {key: value for key, value in row.items() if key != "images"}
    _file(shard, f"{row['id']}.json", compact(known).encode("utf-8"))
    for name, image in zip(names(row, images), images, strict=True):
        key, _, part = name.rpartition("-")
        _file(shard, f"{key}.{part}", image.data)


def _file(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file without an owner and a time, which would differ from one export to the next."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    shard.addfile(entry, io.BytesIO(data))


def _cut(rows: Iterator[dict[str, Any]], size: int) -> Iterator[Iterable[dict[str, Any]]]:
    """The rows in pieces, none of which is empty; each has to be read before the next."""
    for _, numbered in groupby(enumerate(rows), lambda pair: pair[0] // size):
        yield (row for _, row in numbered)
