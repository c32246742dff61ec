"""The image store, read with suspicion: what is published is exactly what was drawn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mis_dataset.errors import StorageError
from mis_dataset.records import Picture, Screened


@dataclass(frozen=True)
class ImageStore:
    """A folder of content-addressed images; `Picture.path` is relative to it."""

    folder: Path

    def size(self, record: Screened) -> int:
        """Bytes of a row's images; a missing image counts nothing here and is reported by `read`."""
        paths = (self.folder / picture.path for picture in record.pictures)
        return sum(path.stat().st_size for path in paths if path.is_file())

    def read(self, record: Screened) -> list[bytes]:
        """A row's encoded images, in order.

        Raises:
            StorageError: an image is missing or is not the one that was drawn.
        """
        return [self._read(record.scenario.id, picture) for picture in record.pictures]

    def _read(self, row: str, picture: Picture) -> bytes:
        path = self.folder / picture.path
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: an image of row {row} cannot be read ({error.strerror}); {_REMEDY}") from error
        if hashlib.sha256(data).hexdigest() != picture.sha256:
            raise StorageError(f"{path}: an image of row {row} is not the one that was drawn; {_REMEDY}")
        return data


_REMEDY = "run the same command again: damaged images are drawn anew"
