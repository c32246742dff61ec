"""Decontaminate: drop every row that comes near a benchmark on which models tuned on the dataset will be scored.

A row's words (its question, and the texts that the question comes from) are compared with every text of a benchmark,
and its images with every image. Every row is judged by itself: neither the order of the rows nor other rows matter.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from mis_dataset.decontaminate.near_texts import NearTexts
from mis_dataset.errors import DatasetError
from mis_dataset.imagehash import NearIndex, hamming, perceptual_hash
from mis_dataset.records import ORDINALS, Near, Outline, Rejected, Screened
from mis_dataset.run.shards import Item
from mis_dataset.tables import BenchmarkSettings, Row, Table

_UNREADABLE = (OSError, EOFError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""


@dataclass(frozen=True)
class Contamination:
    """What was found of one benchmark; the card and the manifest report it."""

    benchmark: str
    """What the card calls it."""
    digest: str
    """Of its content: of files a hash, on the Hub the commit."""
    texts: int
    """How many texts the rows were compared with."""
    images: int
    near_text: int
    """How many rows were dropped for their words; a row that is near several benchmarks counts for the first."""
    near_image: int
    """How many rows were dropped for an image, their words being near no text of this benchmark."""


@dataclass(frozen=True)
class Clean:
    """What became of the rows, each list in their order."""

    rows: tuple[Outline, ...]
    dropped: tuple[Item[Outline], ...]
    found: tuple[Contamination, ...]
    """Per benchmark, in the order of the recipe; counts these rows alone."""


class Benchmarks:
    """The benchmarks of a recipe, ready to be compared with."""

    def __init__(self, benchmarks: Sequence[_Benchmark]) -> None:
        self._benchmarks = benchmarks

    @classmethod
    def load(cls, settings: Sequence[BenchmarkSettings]) -> Benchmarks:
        """Read the benchmarks; of images only the hashes are kept, and one is open at a time.

        Raises:
            DatasetError: a text or an image cannot be read, or there is none: nothing gets past a benchmark unnoticed.
            UsageError: a dataset cannot be had.
        """
        return cls([_Benchmark(one) for one in settings])

    def near(self, row: Screened) -> Near | None:
        """To which benchmark a row comes too near, the first of several; None if to none."""
        found = (Near(place, why) for place, one in enumerate(self._benchmarks) if (why := one.near(row)))
        return next(found, None)

    def clean(self, rows: Sequence[Outline]) -> Clean:
        """Drop the rows that `near` finds near a benchmark; their twins are judged by themselves."""
        nears = [(row.id, row.near) for row in rows if row.near]
        counts = Counter((near.benchmark, near.why.reason) for _, near in nears)
        found = (
            Contamination(
                benchmark=benchmark.title,
                digest=benchmark.digest,
                texts=len(benchmark.texts),
                images=benchmark.images,
                near_text=counts[place, "near_benchmark_text"],
                near_image=counts[place, "near_benchmark_image"],
            )
            for place, benchmark in enumerate(self._benchmarks)
        )
        kept = tuple(row for row in rows if not row.near)
        return Clean(kept, tuple(Item(name, near.why) for name, near in nears), tuple(found))


class _Benchmark:
    """One benchmark's texts and the hashes of its images."""

    def __init__(self, settings: BenchmarkSettings) -> None:
        self.title, self.digest = settings.title, settings.digest
        self.texts = NearTexts(settings.text_similarity)
        self.images = 0
        self._near_images = NearIndex(settings.image_distance)
        self._first: dict[str, int] = {}
        table = settings.open()
        for row in map(table.row, range(len(table))):
            for text in (text for column in settings.text_columns for text in row.texts(column)):
                self.texts.add(text, row.number)
            for image in (image for column in settings.image_columns for image in row.images(column)):
                self._add(_hash_of(image, row), row.number)
        self._refuse_empty(settings, table)

    def near(self, row: Screened) -> Rejected | None:
        """Why the row is too near, or None if it is not."""
        for what, text in _texts(row):
            if found := self.texts.find(text):
                similarity, number = found
                detail = f"{what} is near {self.title}#{number}: a similarity of {similarity:.2f}"
                return Rejected("near_benchmark_text", detail)
        for ordinal, picture in zip(ORDINALS, row.pictures, strict=False):
            if near := self._near_images.find(picture.phash):
                bits = hamming(near, picture.phash)
                detail = f"its {ordinal} image is near one of {self.title}#{self._first[near]}: {bits} bits differ"
                return Rejected("near_benchmark_image", detail)
        return None

    def _add(self, phash: str, number: int) -> None:
        self.images += 1
        if phash not in self._first:
            self._first[phash] = number
            self._near_images.add(phash, phash)

    def _refuse_empty(self, settings: BenchmarkSettings, table: Table) -> None:
        named = {
            "text_columns": (settings.text_columns, len(self.texts)),
            "image_columns": (settings.image_columns, self.images),
        }
        if problems := [
            f"{key}: no row has anything in {', '.join(columns)}; name the columns that do, or leave {key} out"
            for key, (columns, count) in named.items()
            if columns and not count
        ]:
            raise DatasetError(table.complaint, problems)


def _texts(row: Screened) -> Iterator[tuple[str, str]]:
    """What a row's question is and was, each with its name in a message."""
    origin = row.scenario.origin
    yield "its question", row.scenario.question
    yield "the seed's text", origin.seed_text
    yield "the extracted question", origin.raw
    yield "the rewritten question", origin.rewritten


def _hash_of(image: Path | bytes, row: Row) -> str:
    """The perceptual hash of an image as it is shown: upright and RGB, as the rows' own pictures are stored."""
    try:
        with Image.open(image if isinstance(image, Path) else io.BytesIO(image)) as encoded:
            return perceptual_hash(ImageOps.exif_transpose(encoded).convert("RGB"))
    except _UNREADABLE as error:
        which = f" {image}" if isinstance(image, Path) else ""
        raise row.broken(f"its image{which} cannot be read; mend the file, or leave the cell empty") from error
