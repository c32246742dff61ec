"""The image store: every picture once, under the hash of its bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from mis_dataset.errors import DamagedImageError
from mis_dataset.imagehash import perceptual_hash
from mis_dataset.records import Labelled, Picture, Rendered, Screened
from mis_dataset.run.shards import write_whole
from mis_dataset.storage import is_remote

# Lossless; level 3 takes a third of the time of the default and makes files a few percent larger.
_COMPRESS_LEVEL = 3
_LOOKS_AT_ONCE = 32

Drawn = Rendered | Labelled | Screened
"""Any record whose pictures are drawn."""


class LostImageError(DamagedImageError):
    """A row's image cannot be used; a build that meets it draws it again."""

    def __init__(self, path: Path, row: str, why: str) -> None:
        super().__init__(path, row, why)  # with which it is made anew where a Ray worker sends it
        self.what = f"{path}: an image of row {row} {why}"

    def __str__(self) -> str:
        return f"{self.what}; run the same command again: damaged images are drawn anew"


@dataclass(frozen=True)
class Stored:
    """Where a picture lies and what identifies it."""

    path: str
    sha256: str
    phash: str


class ImageStore:
    """PNG files below a root, as ``ab/abcd….png``; equal pixels share one file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def save(self, image: Image.Image) -> Stored:
        """Encode, hash and keep an image.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "PNG", compress_level=_COMPRESS_LEVEL)
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        path = self.path_of(digest)
        if not self.is_intact(path, digest):
            write_whole(self.root / path, data)
        return Stored(path, digest, perceptual_hash(image))

    def opened(self, row: Labelled) -> Labelled:
        """The row with pictures whose paths can be opened from anywhere."""
        pictures = (replace(picture, path=str(self.root / picture.path)) for picture in row.pictures)
        return replace(row, pictures=tuple(pictures))

    def read(self, row: Drawn) -> list[bytes]:
        """A row's encoded images, in order, each exactly as it was drawn.

        Raises:
            LostImageError: one is missing or damaged.
        """
        return [self._read(row.scenario.id, picture) for picture in row.pictures]

    def size(self, row: Drawn) -> int:
        """Bytes of a row's images; a missing one counts nothing here and is reported by `read`."""
        paths = (self.root / picture.path for picture in row.pictures)
        return sum(path.stat().st_size for path in paths if path.is_file())

    def is_intact(self, path: str, sha256: str) -> bool:
        """Whether the file is there with the bytes that its name promises."""
        try:
            return hashlib.sha256((self.root / path).read_bytes()).hexdigest() == sha256
        except OSError:
            return False

    def lacks(self, paths: Iterable[str]) -> list[str]:
        """Which of some pictures are not there; whether the others are intact shows when they are read."""
        wanted = list(dict.fromkeys(paths))
        if is_remote(self.root):
            with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
                there = list(pool.map(lambda path: (self.root / path).is_file(), wanted))
        else:
            there = [(self.root / path).is_file() for path in wanted]
        return [path for path, is_there in zip(wanted, there, strict=True) if not is_there]

    def verify(self, rows: Iterable[Drawn]) -> None:
        """See that all pictures of some rows are as they were drawn.

        Raises:
            LostImageError: one is missing or damaged.
        """
        for row in rows:
            self.read(row)

    def purge(self) -> int:
        """Remove every picture whose bytes are not those that its name promises; gives how many there were."""
        files = ((self.path_of(path.stem), path) for path in self.root.glob("??/*.png"))
        damaged = [path for name, path in files if not self.is_intact(name, path.stem)]
        for path in damaged:
            path.unlink(missing_ok=True)
        return len(damaged)

    def _read(self, row: str, picture: Picture) -> bytes:
        path = self.root / picture.path
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LostImageError(path, row, f"cannot be read ({error.strerror or error})") from error
        if hashlib.sha256(data).hexdigest() != picture.sha256:
            raise LostImageError(path, row, "is not the one that was drawn")
        return data

    @staticmethod
    def path_of(sha256: str) -> str:
        """The path of a picture relative to the root."""
        return f"{sha256[:2]}/{sha256}.png"
