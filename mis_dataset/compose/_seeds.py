"""Seeds: harmful texts, with or without an image, from which scenarios are composed.

They lie in a JSONL, CSV or Parquet file, in a dataset's folder, or on the Hub; settings say what their columns mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mis_dataset.chat import Message, jpeg_part, valid_unicode
from mis_dataset.compose._files import file_digest, read_csv, read_jsonl
from mis_dataset.errors import BackendError, DatasetError, StorageError, UsageError
from mis_dataset.options import option

_FILES = (".jsonl", ".csv", ".parquet")
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Seed:
    """One row of the seeds."""

    source: str
    """The file's or dataset's name."""
    row: int
    """Counted from 0."""
    text: str
    """Without space around it; may be empty."""
    image: Path | bytes | None
    """A file, or its content."""
    category: str
    """What the source files it under, in the source's own words; empty if it says nothing."""
    licence: str

    @property
    def name(self) -> str:
        """Source and row; see `SeedTable.name`."""
        return _name(self.source, self.row)

    def picture(self, longest_side: int, quality: int) -> list[Message]:
        """The image as a message part, or nothing if there is none; see `jpeg_part`.

        Raises:
            DatasetError: the image cannot be read.
        """
        if self.image is None:
            return []
        try:
            if isinstance(self.image, Path):
                return [jpeg_part(self.image, longest_side, quality)]
            with TemporaryDirectory() as folder:
                path = Path(folder, "image")
                path.write_bytes(self.image)
                return [jpeg_part(path, longest_side, quality)]
        except StorageError as error:
            which = f" {self.image}" if isinstance(self.image, Path) else ""
            problem = f"row {self.row}: its image{which} cannot be read; mend the file, or leave the cell empty"
            raise DatasetError(f"{self.source} cannot be used as seeds:", [problem]) from error


@dataclass(frozen=True, kw_only=True)
class SeedSettings:
    """Where the seeds lie, and what their columns mean."""

    seeds: str = option(
        doc="A .jsonl, .csv or .parquet file, a dataset's folder, or a dataset's id on the Hub.", minLength=1
    )
    seeds_config: str = option("", "The dataset's configuration; not for files.")
    seeds_split: str = option("train", "The dataset's split; not for files.", minLength=1)
    seeds_revision: str = option("", "The commit of a dataset on the Hub, 40 digits.")
    text_column: str = option("text", "The column with the harmful texts.", minLength=1)
    image_column: str = option(
        "", "The column with the images that belong to the texts: paths that start from the seeds, or encoded images."
    )
    category_column: str = option("", "The column that says what the source files a text under; shown as a hint.")
    licence: str = option("", "The licence of all seeds; empty: the dataset's own, if it names one.")
    licence_column: str = option("", "The column with each seed's licence, where they differ.")

    def __post_init__(self) -> None:
        where, kinds = f"compose.seeds: {self.seeds}", ", ".join(_FILES)
        if self.local:
            if self.local.is_file() and self.local.suffix not in _FILES:
                raise BackendError(f"{where} is no {kinds} file; convert it to one of these")
        elif self.seeds.endswith(_FILES) or not _HUB_ID.fullmatch(self.seeds):
            raise BackendError(f"{where} does not exist; a relative path starts from where mis is run")
        elif not _COMMIT.fullmatch(self.seeds_revision):
            raise BackendError(
                f"{where} is not on this machine, and on the Hub it may change; set compose.seeds_revision to the 40 "
                f"digits that https://huggingface.co/datasets/{self.seeds}/commits/main shows"
            )

    @property
    def local(self) -> Path | None:
        """The file or folder; None if the seeds are on the Hub."""
        path = Path(self.seeds).expanduser()
        return path if path.exists() else None

    @property
    def digest(self) -> str:
        """Identifies the seeds' content: of files a hash, on the Hub the commit.

        Raises:
            UsageError: a file cannot be read.
        """
        return file_digest(self.local) if self.local else self.seeds_revision

    def read(self) -> SeedTable:
        """Open the seeds.

        Raises:
            DatasetError: a file breaks its format, or lacks a column; every problem is listed.
            UsageError: the dataset cannot be had.
        """
        path = self.local
        rows: Sequence[Mapping[str, Any]]
        if path and path.suffix == ".jsonl" and path.is_file():
            rows = read_jsonl(path)
            columns = list(dict.fromkeys(key for row in rows for key in row))
        elif path and path.suffix == ".csv" and path.is_file():
            rows = read_csv(path)
            columns = list(rows[0]) if rows else []
        else:
            rows = data = self._load(path)
            columns = data.column_names
        return SeedTable(self, rows, columns)

    def _load(self, path: Path | None) -> Any:
        """A dataset by ``load_dataset``, its images undecoded."""
        import datasets  # heavy

        try:
            if path and path.is_file():
                data = datasets.load_dataset("parquet", data_files=str(path), split="train")
            else:
                revision = None if path else self.seeds_revision
                where = str(path or self.seeds)
                data = datasets.load_dataset(
                    where, self.seeds_config or None, split=self.seeds_split, revision=revision
                )
        except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
            said = str(error.__cause__ or error).strip().partition("\n")[0]
            raise UsageError(
                f"{self.seeds} cannot be loaded as seeds ({said}); check seeds, seeds_config, seeds_split and "
                "seeds_revision, and the connection if it is on the Hub"
            ) from error
        if isinstance(data.features.get(self.image_column), datasets.Image):
            data = data.cast_column(self.image_column, datasets.Image(decode=False))
        return data


class SeedTable:
    """The rows of the seeds, read one at a time; safe to use from several threads.

    Raises:
        DatasetError: there are no rows, or columns are missing.
    """

    def __init__(self, settings: SeedSettings, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        self._settings = settings
        self._rows = rows
        self._source = settings.local.name if settings.local else settings.seeds
        named = ("text_column", "image_column", "category_column", "licence_column")
        if missing := [
            f"{key}: there is no column {column!r}; there are {', '.join(columns)}"
            for key in named
            if (column := getattr(settings, key)) and column not in columns
        ]:
            problems = missing if columns else ["it holds no rows"]
            raise DatasetError(f"{settings.seeds} cannot be used as seeds:", problems)
        info = getattr(rows, "info", None)
        self._licence = settings.licence or getattr(info, "license", "") or ""

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, row: int) -> str:
        """Names a seed: ``advbench.csv#12``."""
        return _name(self._source, row)

    def read(self, row: int) -> Seed:
        """One seed.

        Raises:
            DatasetError: a cell holds something else than it should.
        """
        cells, settings = self._rows[row], self._settings
        return Seed(
            source=self._source,
            row=row,
            text=self._text(cells, row, settings.text_column),
            image=self._image(cells.get(settings.image_column), row),
            category=self._text(cells, row, settings.category_column),
            licence=self._text(cells, row, settings.licence_column) or self._licence,
        )

    def _text(self, cells: Mapping[str, Any], row: int, column: str) -> str:
        value = cells.get(column)
        if not isinstance(value, (str, int, float, type(None))):
            raise self._broken(row, f"{column!r} holds a {type(value).__name__}, not a text; name a column of texts")
        return "" if value is None else valid_unicode(str(value)).strip()

    def _image(self, cell: Any, row: int) -> Path | bytes | None:
        column, local = self._settings.image_column, self._settings.local
        if isinstance(cell, Mapping):  # how `datasets` stores an image
            cell = cell.get("bytes") or cell.get("path")
        if isinstance(cell, str) and cell.strip():
            # A dataset from elsewhere does not get to name files of this machine.
            if local is None or "://" in cell:
                raise self._broken(row, f"{column!r} names {cell!r} instead of holding the image; download it first")
            return (local if local.is_dir() else local.parent) / cell.strip()
        if not isinstance(cell, (bytes, str, type(None))):
            raise self._broken(row, f"{column!r} holds a {type(cell).__name__}, neither a path nor an image")
        return cell if isinstance(cell, bytes) and cell else None

    def _broken(self, row: int, problem: str) -> DatasetError:
        return DatasetError(f"{self._settings.seeds} cannot be used as seeds:", [f"row {row}: {problem}"])


def _name(source: str, row: int) -> str:
    return f"{source}#{row}"
