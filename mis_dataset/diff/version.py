"""A version of a dataset, in a directory or on the Hub; of its files only what is asked for is read."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from httpx2 import HTTPError
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, but not in __all__

from mis_dataset.assemble.layout import MANIFEST, RECIPE, data_stem, matching
from mis_dataset.assemble.manifest import parse_manifest, read_manifest
from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.records import SUBSETS

_BATCH_ROWS = 1024
_READ_BYTES = 1 << 18  # what the Hub is asked for at least; texts lie in small pieces between the images


@dataclass(frozen=True)
class Version:
    """A dataset that this package wrote, wherever it lies."""

    place: str
    """What to call it: a path, or a name on the Hub with the commit."""
    manifest: Mapping[str, Any]
    open: Callable[[str], BinaryIO]
    """Opens one of its files by its path."""

    @classmethod
    def find(cls, place: str) -> Version:
        """The dataset in a directory, or under a name on the Hub such as ``my-org/mis@v1.0.0``.

        Raises:
            DatasetError: it is none of this package.
            UsageError: there is no such directory, and the Hub has no such dataset, or does not show it, or is silent.
        """
        directory, (name, _, revision) = Path(place).expanduser(), place.partition("@")
        if directory.exists() or not _is_hub_name(name):
            return cls.local(directory)
        # `huggingface_hub` itself reads HF_ENDPOINT only once, when it is imported.
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or None)
        try:
            return cls.on_hub(api, name, revision or None)
        except (HTTPError, OSError, ValueError) as error:
            said = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"{place} is no directory here, and cannot be had from {api.endpoint} ({said}); check the name, the "
                "token (`hf auth login`, or HF_TOKEN) and the network"
            ) from error

    @classmethod
    def local(cls, directory: Path) -> Version:
        """The dataset in a directory.

        Raises:
            DatasetError: there is none.
        """
        return cls(str(directory), read_manifest(directory), lambda path: (directory / path).open("rb"))

    @classmethod
    def on_hub(cls, api: HfApi, repo_id: str, revision: str | None = None) -> Version:
        """The dataset that was pushed as ``repo_id``; what the Hub raises comes out as it is.

        Raises:
            DatasetError: it is none of this package, or its manifest is damaged.
            LaterFormatError: a later version of this package wrote it.
        """
        commit = str(api.dataset_info(repo_id, revision=revision).sha)
        files = HfFileSystem(endpoint=api.endpoint, token=api.token, skip_instance_cache=True)
        root = f"datasets/{repo_id}@{commit}"
        place = f"{repo_id}@{commit[:8] if revision in (None, commit) else revision}"
        try:
            text = files.cat_file(f"{root}/{MANIFEST}")
        except FileNotFoundError as error:
            remedy = "give one that `mis push` published"
            raise DatasetError(f"{place} is not a dataset of mis:", [f"it has no {MANIFEST}; {remedy}"]) from error
        manifest = parse_manifest(text, place)
        return cls(place, manifest, lambda path: files.open(f"{root}/{path}", "rb", block_size=_READ_BYTES))

    @property
    def files(self) -> Mapping[str, Mapping[str, Any]]:
        """What the manifest says of each file."""
        files: Mapping[str, Mapping[str, Any]] = self.manifest["files"]
        return files

    @property
    def data_files(self) -> list[str]:
        """The files that hold rows, in the dataset's order."""
        return [path for subset in SUBSETS for path in matching(self.files, f"{data_stem(subset)}-0*")]

    def recipe(self) -> dict[str, Any]:
        """The recipe that the dataset carries; empty if it was imported.

        Raises:
            DatasetError: it cannot be read.
        """
        if RECIPE not in self.files:
            return {}
        try:
            with self.open(RECIPE) as file:
                return tomllib.load(file)
        except (FileNotFoundError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise self._unreadable(RECIPE, error) from error

    def rows(self, path: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Some columns of a file, row by row.

        Raises:
            DatasetError: the file cannot be read, or lacks one of the columns.
        """
        try:
            with self.open(path) as stream, pq.ParquetFile(stream) as file:
                there = [f"{file.schema.column(place).path}." for place in range(len(file.schema))]
                if lacking := [name for name in columns if not any(one.startswith(f"{name}.") for one in there)]:
                    raise self._unreadable(path, f"it has no {', '.join(lacking)}")
                for batch in file.iter_batches(_BATCH_ROWS, columns=list(columns)):
                    yield from batch.to_pylist()
        except (FileNotFoundError, pa.ArrowException) as error:
            raise self._unreadable(path, error) from error
        except OSError as error:
            if type(error) is not OSError:
                raise  # of the way to the file; Arrow's own, of what is torn inside, is a plain one
            raise self._unreadable(path, error) from error

    def image_digests(self) -> dict[str, tuple[str, ...]]:
        """The SHA-256 of each row's images, by the row's id; read from the provenance, which is small.

        Raises:
            DatasetError: a file cannot be read.
        """
        read = partial(self.rows, columns=["id", "images.list.element.sha256"])
        return {
            row["id"]: tuple(image["sha256"] for image in row["images"])
            for path in matching(self.files, "provenance/*")
            for row in read(path)
        }

    def _unreadable(self, path: str, why: object) -> DatasetError:
        return DatasetError(f"{self.place} cannot be read:", [f"{path}: {why}; `mis validate` says more"])


def _is_hub_name(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1
