"""What a format exports: the rows of a dataset directory, streamed, as many of them as were asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mis_dataset.assemble.layout import data_stem, matching
from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.formats._columns import first_gap, other_columns
from mis_dataset.records import SUBSETS, side_of
from mis_dataset.schema import arrow_schema

Choice = Literal["harmful", "all"]
"""Harmful rows only, or their benign twins as well."""

_READ_BYTES = 1 << 20
_ROWS, _IDS = 4, 4096  # how many are read together, with images and without
_IMAGE_NAMES = "images.list.element.path"  # enough to count images


@dataclass(frozen=True)
class Source:
    """A dataset directory as formats see it; a few rows of it are in memory at a time."""

    directory: Path
    name: str
    """The recipe's."""
    files: Mapping[str, Sequence[str]]
    """The Parquet files of every subset that has rows, in order."""
    intent: Choice = "harmful"
    """What `rows` gives unless it is asked for something else."""
    most_images: int | None = None
    """Test rows with more are as if they were not there; None: there is no limit."""
    on_row: Callable[[], None] = lambda: None
    """Called after each row, for progress."""

    @classmethod
    def open(cls, directory: Path) -> Source:
        """The dataset that ``mis build`` or ``mis import`` wrote into a directory.

        Raises:
            DatasetError: there is none, or files of rows are gone.
            LaterFormatError: a later version of this package wrote it.
        """
        manifest = read_manifest(directory)
        found = {subset: matching(manifest["files"], f"{data_stem(subset)}-0*") for subset in SUBSETS}
        files: dict[str, Sequence[str]] = {subset: paths for subset, paths in found.items() if paths}
        if gone := [path for paths in files.values() for path in paths if not (directory / path).is_file()]:
            remedy = "copy the whole directory, or build it again"
            raise DatasetError(f"{directory} is not complete:", [f"{path} is missing; {remedy}" for path in gone])
        return cls(directory, manifest["name"], files)

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets that have rows, in the dataset's order: train, easy, hard, real."""
        return tuple(self.files)

    def split(self, subset: str) -> Literal["train", "test"]:
        """The published split to which a subset belongs."""
        return side_of(subset)

    def only(self, subsets: Sequence[str], intent: Choice = "harmful", most_images: int | None = None) -> Source:
        """The same dataset, as if it had no other rows than these.

        Args:
            subsets: their names, in any order.
            intent: what `rows` gives.
            most_images: of a test row; None: any number.

        Raises:
            UsageError: the dataset has no rows in one of the subsets.
        """
        for subset in subsets:
            self._paths(subset)
        chosen = {subset: paths for subset, paths in self.files.items() if subset in subsets}
        return replace(self, files=chosen, intent=intent, most_images=most_images)

    def rows(self, subset: str | None = None, intent: Choice | None = None) -> Iterator[dict[str, Any]]:
        """Rows with the public columns, in the dataset's order.

        Args:
            subset: rows of this one only.
            intent: rows of this kind only; None for the source's own choice, which is ``harmful`` if nobody chose.

        Yields:
            One dict a row, as ``row.schema.json`` describes it: ``row["images"][i]["bytes"]`` is an encoded image,
            ``["path"]`` its file name.

        Raises:
            UsageError: there is no such subset in this dataset.
            DatasetError: a file cannot be read, its columns are others, or a row has null where it needs a value.
        """
        for name, batch in self._batches(subset, arrow_schema("row").names, _ROWS):
            chosen = self._fitting(name, _of(batch, intent or self.intent))
            # One at a time: a row is let go before the next one's images are copied.
            for place in range(chosen.num_rows):
                yield chosen.slice(place, 1).to_pylist()[0]
                self.on_row()

    def counts(self) -> dict[str, Counts]:
        """How many rows and images there are in every subset, of those that `rows` gives; reads no image.

        Raises:
            DatasetError: two rows have one id, or it is as for `rows`.
        """
        ids: Counter[str] = Counter()
        rows, images, left_out, too_many_images = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
        for subset, batch in self._batches(None, ["id", "question", "subset", "intent", _IMAGE_NAMES], _IDS):
            ids.update(batch["id"].to_pylist())
            fitting = self._fitting(subset, batch)
            chosen = _of(fitting, self.intent)
            rows[subset] += chosen.num_rows
            images[subset] += len(pc.list_flatten(chosen["images"]))
            left_out[subset] += fitting.num_rows - chosen.num_rows
            too_many_images[subset] += _of(batch, self.intent).num_rows - chosen.num_rows
        if twice := [id_ for id_, times in ids.items() if times > 1]:
            remedy = "an id names one row; remove the others from the dataset"
            raise DatasetError(
                f"{self.directory} has rows with one id:", [f"{id_}: {ids[id_]} rows; {remedy}" for id_ in twice]
            )
        return {
            subset: Counts(rows[subset], images[subset], left_out[subset], too_many_images[subset])
            for subset in self.subsets
        }

    def _fitting(self, subset: str, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.most_images is None or side_of(subset) == "train":
            return batch
        return batch.filter(pc.less_equal(pc.list_value_length(batch["images"]), self.most_images))

    def _batches(self, subset: str | None, columns: list[str], batch_rows: int) -> Iterator[tuple[str, pa.RecordBatch]]:
        for name in self.subsets if subset is None else (subset,):
            for path in self._paths(name):
                try:
                    # Read as it goes: otherwise a whole row group would be in memory, 64 MB of images and more.
                    with pq.ParquetFile(self.directory / path, buffer_size=_READ_BYTES, pre_buffer=False) as file:
                        if problems := list(other_columns(file, [column.split(".")[0] for column in columns])):
                            raise DatasetError(
                                f"{self.directory} cannot be read:", [f"{path}: {problem}" for problem in problems]
                            )
                        before = 0
                        for batch in file.iter_batches(batch_rows, columns=columns, use_threads=False):
                            _refuse_gaps(batch, path, before)
                            before += batch.num_rows
                            yield name, batch
                except (OSError, pa.ArrowException) as error:
                    problem = f"{path}: {error}; `mis validate` says more"
                    raise DatasetError(f"{self.directory} cannot be read:", [problem]) from error

    def _paths(self, subset: str) -> Sequence[str]:
        if subset not in self.files:
            there = ", ".join(self.subsets)
            raise UsageError(f"{self.directory} has no rows in the subset {subset!r}; it has {there}")
        return self.files[subset]


@dataclass(frozen=True)
class Counts:
    """How much of a subset is exported."""

    rows: int
    images: int
    left_out: int
    """Rows of the other intent that would go along with it."""
    too_many_images: int
    """Rows with more images than the format holds."""


@dataclass(frozen=True)
class Takes:
    """The rows that a format is for; others have to be asked for."""

    side: Literal["train", "test", "both"]
    intent: Choice
    most_images: int | None = None
    """Of a test row, for formats with the option ``max_images``."""

    def subsets(self, source: Source) -> tuple[str, ...]:
        """The subsets of its side.

        Raises:
            UsageError: there are none.
        """
        found = tuple(subset for subset in source.subsets if self.side in ("both", source.split(subset)))
        if not found:
            there = ", ".join(source.subsets) or "no rows at all"
            raise UsageError(f"{source.directory} has no {self.side} rows; name the subsets to export, it has {there}")
        return found


TRAINING = Takes("train", "all")
"""Formats of trainers: the benign twins teach a model not to refuse everything."""
TESTING = Takes("test", "all")
"""Formats of evaluators: the benign twins show whether a model refuses everything."""
EVERYTHING = Takes("both", "harmful")
"""Formats that say nothing else."""


def _of(batch: pa.RecordBatch, intent: Choice) -> pa.RecordBatch:
    return batch if intent == "all" else batch.filter(pc.equal(batch["intent"], "harmful"))


def _refuse_gaps(batch: pa.RecordBatch, path: str, before: int) -> None:
    if gap := first_gap(batch):
        place, problem = gap
        name = batch["id"][place].as_py() or f"{path}, row {before + place + 1}"
        raise DatasetError("a row cannot be exported:", [f"{name}: {problem}; `mis validate` lists all such rows"])
