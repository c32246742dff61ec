"""What is put to a model: rows of a dataset without their labels, images read only when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from mis_dataset.assemble.layout import CONFIGS, matching
from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.evaluate.records import Answered
from mis_dataset.loader import find_dataset
from mis_dataset.seeds import stable_digest

TestSubset = Literal["test", "easy", "hard", "real"]
Intents = Literal["both", "harmful", "benign"]
Probe = Literal["text_only", "blank", "first", "second", "third", "fourth", "swapped"]
"""Another way to show a row; see `mis_dataset.evaluate.probes`."""

SUBSETS: tuple[TestSubset, ...] = get_args(TestSubset)
INTENTS: tuple[Intents, ...] = get_args(Intents)
PROBES: tuple[Probe, ...] = get_args(Probe)

_COLUMNS = ("id", "question", "category", "sub_category", "subset", "intent", "twin_id", "relation", "objects")
_NAMES_OF_IMAGES = "images.list.element.path"
"""Read to count the images without reading them."""


@dataclass(frozen=True)
class Case:
    """A row as it is put to a model."""

    row: Answered
    """Its response is empty, unless it is given and has only to be judged."""
    question: str
    load_images: Callable[[], Sequence[bytes]]
    """Reads the encoded images, in order."""
    objects: tuple[str, ...] = ()
    """What each image shows; empty if nobody said."""


@dataclass(frozen=True)
class Source:
    """Which dataset cases are taken from."""

    name: str
    fingerprint: str
    directory: Path

    @classmethod
    def of(cls, data: str | None) -> Source:
        """The dataset in the directory ``data``, or the one that ``load_dataset("mis")`` reads.

        Raises:
            DatasetError: it is not a dataset.
        """
        directory = find_dataset(data)
        manifest = read_manifest(directory)
        return cls(manifest["name"], manifest["fingerprint"], directory)

    def cases(
        self, subset: TestSubset = "test", intents: Intents = "both", limit_families: int | None = None
    ) -> list[Case]:
        """The rows of a test subset, in the dataset's order.

        Args:
            subset: ``test`` is all of ``easy``, ``hard`` and ``real``.
            intents: harmful rows, their benign twins, or both.
            limit_families: so many families at most (a harmful row and its twin). They are chosen by a hash of their
                names, so that any number of them is a fair sample and a part of any larger one.

        Raises:
            UsageError: there is no such subset, or it has no such rows.
            DatasetError: a file cannot be read.
        """
        for given, known in ((subset, SUBSETS), (intents, INTENTS)):
            if given not in known:
                raise UsageError(f"{given!r} is none of {', '.join(known)}")
        if limit_families is not None and limit_families < 1:
            raise UsageError(f"limit_families is {limit_families}; at least one family is needed")
        found = [case for path in self._files(subset) for case in _read(path)]
        found = [case for case in found if intents in ("both", case.row.intent)]
        if not found:
            kind = "" if intents == "both" else f"{intents} "
            raise UsageError(f"{self.directory} has no {kind}rows in {subset}; choose others, or build them")
        return found if limit_families is None else _limited(found, limit_families)

    def _files(self, subset: TestSubset) -> list[Path]:
        paths = [path.relative_to(self.directory).as_posix() for path in self.directory.rglob("*.parquet")]
        pattern = CONFIGS["default" if subset == "test" else subset]["test"]
        return [self.directory / path for path in matching(paths, pattern)]


def family_of(row: Answered) -> str:
    """A name that a row shares with its twin."""
    return min(row.id, row.twin_id or row.id)


def _limited(cases: Sequence[Case], families: int) -> list[Case]:
    names = sorted({family_of(case.row) for case in cases}, key=stable_digest)[:families]
    return [case for case in cases if family_of(case.row) in names]


def _read(path: Path) -> Iterator[Case]:
    with _reading(path), pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=[*_COLUMNS, _NAMES_OF_IMAGES]).to_pylist()
            yield from (_case(row, partial(_images, path, group, place)) for place, row in enumerate(rows))


def _case(row: dict[str, Any], load_images: Callable[[], Sequence[bytes]]) -> Case:
    answered = Answered(
        id=row["id"],
        intent=row["intent"],
        response="",
        subset=row["subset"],
        # Of an imported row, these may be unknown.
        category=row["category"] or "",
        sub_category=row["sub_category"] or "",
        relation=row["relation"] or "",
        images=len(row["images"]),
        twin_id=row["twin_id"],
    )
    return Case(answered, row["question"], load_images, tuple(row["objects"]))


def _images(path: Path, group: int, place: int) -> Sequence[bytes]:
    return _group_images(path, group)[place]


# Rows are asked for more or less in order, so the last row groups are the ones wanted next.
@lru_cache(maxsize=2)
def _group_images(path: Path, group: int) -> list[list[bytes]]:
    with _reading(path), pq.ParquetFile(path) as file:
        rows = file.read_row_group(group, columns=["images"])["images"].to_pylist()
    return [[image["bytes"] for image in images] for images in rows]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a Parquet file is read into an error of ours."""
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        remedy = "`mis validate` says more, and building the dataset again mends it"
        raise DatasetError(f"{path} cannot be read:", [f"{error}; {remedy}"]) from error
