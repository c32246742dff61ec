"""The images of a row, with their kinds, and a folder to put them into."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mis_dataset.errors import DatasetError

_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
"""The kinds of images that every tool reads."""
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Picture:
    """An encoded image."""

    data: bytes
    suffix: str
    """``.png``, ``.jpg`` or ``.webp``, by its content."""

    @property
    def base64(self) -> str:
        """The bytes as text."""
        return base64.b64encode(self.data).decode("ascii")

    @property
    def data_url(self) -> str:
        """The bytes as a URL."""
        kind = self.suffix.removeprefix(".").replace("jpg", "jpeg")
        return f"data:image/{kind};base64,{self.base64}"


def pictures(row: Mapping[str, Any], longest_side: int = 0) -> list[Picture]:
    """A row's images, in order; what is not shrunk is not decoded, so that damage behind the header goes unseen.

    Args:
        row: with the public columns.
        longest_side: make them JPEG with no side longer than so many pixels; 0 leaves them as they are.

    Raises:
        DatasetError: one is missing, no image, or neither PNG, JPEG nor WebP; or it is damaged and was to be shrunk.
    """
    return [
        _picture(row["id"], place, cell["bytes"] or b"", longest_side) for place, cell in enumerate(row["images"], 1)
    ]


def names(row: Mapping[str, Any], images: list[Picture]) -> list[str]:
    """A file name for each image, unique in the dataset.

    Raises:
        DatasetError: the row's id cannot be part of one.
    """
    if not re.fullmatch(r"\w[\w-]*", row["id"], re.ASCII):
        raise DatasetError(
            "a row has an id that cannot name a file:", [f"{row['id']!r}: use letters, digits, '-' and '_' only"]
        )
    return [f"{row['id']}-{place}{image.suffix}" for place, image in enumerate(images, 1)]


@dataclass(frozen=True)
class ImageFolder:
    """Puts images into ``images/<subset>`` of an export."""

    out: Path
    subset: str

    def add(self, row: Mapping[str, Any], images: list[Picture] | None = None) -> list[str]:
        """Write a row's images, or those given in their stead; returns their paths from the export's folder.

        Raises:
            DatasetError: an image cannot be written as it is, or the row's id cannot name a file.
        """
        images = images if images is not None else pictures(row)
        paths = [f"images/{self.subset}/{name}" for name in names(row, images)]
        for path, image in zip(paths, images, strict=True):
            place = self.out / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(image.data)
        return paths


def joined(root: str, paths: list[str]) -> list[str]:
    """The paths below a root, which may be empty."""
    return [f"{root.rstrip('/')}/{path}" if root else path for path in paths]


def _picture(row_id: str, place: int, data: bytes, longest_side: int) -> Picture:
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = str(image.format)
            if longest_side:
                return Picture(_shrunk(image, longest_side), ".jpg")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        problem = f"{row_id}: image {place} is broken; `mis validate` lists all such rows"
        raise DatasetError("a row cannot be exported:", [problem]) from error
    if kind not in _SUFFIXES:
        raise DatasetError(
            "a row cannot be exported:", [f"{row_id}: image {place} is {kind}; make it PNG, JPEG or WebP"]
        )
    return Picture(data, _SUFFIXES[kind])


def _shrunk(image: Image.Image, longest_side: int) -> bytes:
    picture, buffer = image.convert("RGB"), io.BytesIO()
    picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
