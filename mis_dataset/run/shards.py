"""Finished work on disk: one Parquet file per shard, present only when it is complete.

    work/render-3f2a…/shard-00012.parquet      id · status · reason · detail · record

A shard remembers its stage, and the digest of the shard that it was made from, so that work of another recipe, or on
changed input, is never taken for done.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from mis_dataset.errors import StorageError
from mis_dataset.records import Failed, Rejected
from mis_dataset.run.arrow import arrow_type, from_row
from mis_dataset.storage import is_remote

Record = TypeVar("Record")

_OUTCOME = ["status", "reason"]
"""The columns that tell how an item ended."""
Outcome = tuple[Literal["accepted", "rejected", "failed"], str]
"""How an item ended, and the reason, empty for ``accepted``."""


@dataclass(frozen=True, slots=True)
class Item(Generic[Record]):
    """What became of one scenario at one stage."""

    id: str
    outcome: Record | Rejected | Failed


def kind(item: Item[Any]) -> Literal["accepted", "rejected", "failed"]:
    """An item's outcome as a word."""
    match item.outcome:
        case Rejected():
            return "rejected"
        case Failed():
            return "failed"
        case _:
            return "accepted"


class ShardError(StorageError):
    """A shard file cannot be used; a build that looks at it before it uses it makes it again."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)  # with which it is made anew where a Ray worker sends it
        self.what = f"{path} {why}"

    def __str__(self) -> str:
        return f"{self.what}; run the same command again: it is made again"


class ShardStore(Generic[Record]):
    """The shards of one stage under one fingerprint.

    Args:
        name: the stage's.
        folder: where they lie; made when the first shard is written.
        record: the dataclass that the stage produces.
    """

    def __init__(self, name: str, folder: Path, record: type[Record]) -> None:
        self.name = name
        self.folder = folder
        self.record = record
        self._schema = pa.schema(
            [
                ("id", pa.string()),
                ("status", pa.string()),
                ("reason", pa.string()),
                ("detail", pa.string()),
                ("record", arrow_type(record)),
            ]
        )

    def path(self, number: int) -> Path:
        """Where a shard lies once it is complete."""
        return self.folder / f"shard-{number:05d}.parquet"

    def write(self, number: int, items: Sequence[Item[Record]], upstream: str) -> None:
        """Write a complete shard; it appears by rename.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        table = pa.Table.from_pylist([_row(item) for item in items], schema=self._schema)
        table = table.replace_schema_metadata({"upstream": upstream, "stage": self.folder.name})
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
        write_whole(self.path(number), buffer.getvalue())

    def read(self, number: int, upstream: str | None) -> list[Item[Record]]:
        """Read a complete shard, made from what has the digest ``upstream``; None: from whatever.

        Raises:
            ShardError: it is damaged, of another layout or stage, or made from other input than ``upstream``.
            FileNotFoundError: it is not there yet.
            StorageError: it cannot be read, whether it is damaged or not.
        """
        return [self._item(row) for row in self._rows(number, upstream, None)]

    def outcomes(self, number: int, upstream: str | None) -> Counter[Outcome]:
        """How many items of a complete shard ended how and why; raises as `read` does, and reads no records."""
        return _outcomes(self._table(number, upstream, _OUTCOME))

    def checked(self, number: int, upstream: str | None) -> Counter[Outcome]:
        """As `outcomes`, once every page was held against its checksum."""
        return _outcomes(self._table(number, upstream, None).select(_OUTCOME))

    def ids(self, number: int, upstream: str | None) -> list[str]:
        """The ids of a complete shard's accepted records; raises as `read` does, and reads no records."""
        return [row["id"] for row in self._rows(number, upstream, ["id", "status"]) if row["status"] == "accepted"]

    def pictures(self, number: int, upstream: str | None) -> list[str]:
        """The paths of the pictures to which a complete shard's records refer; raises as `read` does."""
        rows = self._rows(number, upstream, ["record.pictures.list.element.path"])
        records = (row["record"] for row in rows if row["record"])
        return [picture["path"] for record in records for picture in record["pictures"]]

    def _rows(self, number: int, upstream: str | None, columns: list[str] | None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._table(number, upstream, columns).to_pylist()
        return rows

    def _table(self, number: int, upstream: str | None, columns: list[str] | None) -> pa.Table:
        path = self.path(number)
        try:
            # Not read_table: that would take "stage-key=value" folder names for Hive partitions.
            with path.open("rb") as stream, pq.ParquetFile(stream, page_checksum_verification=True) as file:
                schema = file.schema_arrow
                table = file.read(columns=columns)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            # Arrow tells of damage as an error of the system, too, but without a number.
            if isinstance(error, OSError) and error.errno:
                raise storage_error(error, path) from error
            raise ShardError(path, f"is damaged ({type(error).__name__})") from error
        if not schema.equals(self._schema, check_metadata=False):
            raise ShardError(path, "has another layout")
        # Earlier versions did not write it down.
        if (stage := (schema.metadata or {}).get(b"stage", b"").decode()) not in ("", self.folder.name):
            raise ShardError(path, f"is of {stage}, whose recipe was another")
        if upstream is not None and (schema.metadata or {}).get(b"upstream", b"").decode() != upstream:
            raise ShardError(path, "was made from other input")
        return table

    def digest(self, number: int) -> str:
        """SHA-256 of a complete shard's bytes."""
        return hashlib.sha256(self.path(number).read_bytes()).hexdigest()

    def _item(self, row: dict[str, Any]) -> Item[Record]:
        match row["status"]:
            case "rejected":
                return Item(row["id"], Rejected(row["reason"], row["detail"]))
            case "failed":
                return Item(row["id"], Failed(row["reason"], row["detail"]))
            case _:
                return Item(row["id"], from_row(self.record, row["record"]))


def _outcomes(table: pa.Table) -> Counter[Outcome]:
    return Counter((row["status"], row["reason"]) for row in table.to_pylist())


def _row(item: Item[Any]) -> dict[str, Any]:
    match item.outcome:
        case Rejected(reason, detail):
            return {"id": item.id, "status": "rejected", "reason": reason, "detail": detail, "record": None}
        case Failed(reason, detail):
            return {"id": item.id, "status": "failed", "reason": reason, "detail": detail, "record": None}
        case record:
            return {"id": item.id, "status": "accepted", "reason": "", "detail": "", "record": asdict(record)}


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there as a whole or not at all, in a folder that is made if need be.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    if is_remote(path):
        # Object stores show an object when it is complete, and have no folders.
        try:
            path.write_bytes(data)
        except OSError as error:
            raise storage_error(error, path) from error
    else:
        with replacing(path) as temporary:
            temporary.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends well and removed when it does not.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    # Two encoders may write the same picture at the same time.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """An operating-system error as a message with a remedy."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return StorageError(
                f"no space left while writing {path}; free some and run the same command again: finished work is kept"
            )
        case errno.EFBIG:
            return StorageError(
                f"{path} is larger than files may be here; raise that limit (ulimit -f) and run the same command "
                "again: finished work is kept"
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return StorageError(
                f"{path} cannot be written ({error.strerror}); choose another place, or change its permissions"
            )
        case errno.EISDIR:
            return StorageError(
                f"{path} is a folder, where a file has to be; move it away and run the same command again: finished "
                "work is kept"
            )
        case errno.EEXIST | errno.ENOTDIR:
            return StorageError(f"{path}: a file is where a folder has to be; move it away, or choose another place")
        case _:
            return StorageError(f"{path}: {error.strerror or error}; see to that place, or choose another one")
