"""Files that others laid out: found in one folder or in its zips, nowhere else; what is wrong is told all at once."""

from __future__ import annotations

import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from mis_dataset.errors import DatasetError, UsageError

ALIASES = ("mis_test", "MIS-test", "MIS_Test", "mis_train", "MIS_Train", "zip_files")
"""What published clients call the folder of the test or train files, or of the images in it."""

_LISTED = 100
"""So many problems are told one by one."""
_MAX_IMAGE_BYTES = 500_000_000
_ANNOTATIONS = (".json", ".jsonl")
_NO_ROWS = ("dataset_info.json", "meta.json")
"""What trainers keep beside their rows."""


@dataclass(frozen=True)
class Found:
    """An image that is there."""

    name: str
    """As the row names it."""
    path: Path
    """The file, or the zip that has it."""
    member: str = ""
    """Its name in the zip; empty for a file."""

    def read(self) -> bytes:
        """The encoded image.

        Raises:
            OSError: it cannot be read.
        """
        if not self.member:
            return self.path.read_bytes()
        try:
            return _opened(self.path, self.path.stat().st_mtime_ns, os.getpid()).read(self.member)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
            raise OSError(f"{self.path.name} is damaged or encrypted ({error})") from error


class Files:
    """A folder, or one file of it, whose rows are read with their images, those in zips included.

    What is wrong is noted and read past; `refuse` raises it all.

    Args:
        place: the folder, or the file.
        remedy: how to come by a whole one.
        images: the folder in which the images lie, which no path may leave; None: that of ``place``.
        links_to: a folder into which files may be links, as they are in the cache of the Hub's client; None: no links.
        multi_image_only: pass over rows that have one image, none, or more than four, instead of refusing them.

    Raises:
        UsageError: it is not there.
    """

    def __init__(
        self,
        place: Path,
        remedy: str,
        *,
        images: Path | None = None,
        links_to: Path | None = None,
        multi_image_only: bool = False,
    ) -> None:
        if not place.exists():
            raise UsageError(f"{place} does not exist; {remedy}")
        if place.is_file() and place.suffix not in _ANNOTATIONS:
            raise UsageError(f"{place} is no JSON or JSONL file; {remedy}")
        if images and not images.is_dir():
            raise UsageError(f"{images} is not a folder; name the one from which the paths of images start")
        self.place = place
        self._images = images
        self.root = images or (place if place.is_dir() else place.parent)
        self.remedy = remedy
        self._links_to = links_to and links_to.resolve()
        self.passed_over: list[str] = []
        """The rows that have another number of images."""
        self._multi_image_only = multi_image_only
        self._problems: list[str] = []
        self._safe: dict[Path, str] = {}
        self._zips: dict[Path, dict[str, tuple[Path, zipfile.ZipInfo]]] = {}

    @cached_property
    def folders(self) -> list[Path]:
        """Where images may lie: the folder, those below it that bear one of the `ALIASES`, and those below these."""
        return self._folders(self.root)

    def note(self, where: str, problem: str) -> None:
        """Put down what is wrong, and what to do about it."""
        # What is wrong may be a name that cannot be printed.
        self._problems.append(f"{where}: {problem}".encode(errors="replace").decode())

    def find(self, name: str) -> Path | None:
        """The one file of that name; two are a problem."""
        if self.place.is_file():
            return self.place if self.place.name == name else None
        there = [folder / name for folder in self._folders(self.place) if os.path.lexists(folder / name)]
        if len(there) > 1:
            self.note(name, f"lies in {there[0].parent} and in {there[1].parent}; keep one")
        if not there:
            return None
        if problem := self._link(there[0]):
            self.note(name, problem)
            return None
        return there[0]

    def named(self, where: str, name: str) -> Path | None:
        """The file of the folder that something names; to be none, or to lie elsewhere, is a problem."""
        file = self.place / name
        try:
            if file.is_file() and file.resolve().is_relative_to(self.place.resolve()):
                return file
        except OSError:  # what is too long for a name
            pass
        self.note(where, f"its file_name {_cut(name)!r} is no file in {self.place}; give the path of one from there")
        return None

    def beside(self, file: Path) -> Path:
        """The folder from which the paths in a file start if they start where it lies: unless another was named."""
        return self._images or file.parent

    def annotations(self) -> list[Path]:
        """The file, or all JSON and JSONL files of the folder that hold rows; to have none is a problem."""
        if self.place.is_file():
            return [self.place]
        there = sorted(path for path in self.place.iterdir() if path.suffix in _ANNOTATIONS)
        found = [path for path in there if path.name not in _NO_ROWS and path.is_file()]
        if not found:
            self.note(self.place.name, "there is no JSON or JSONL file")
        for path in found:
            if problem := self._link(path):
                self.note(path.name, problem)
        return [path for path in found if not self._link(path)]

    def rows(self, file: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """The objects of a JSON list, of a JSON object's values, or of JSONL.

        Yields:
            How to name the object, its position from 1 or its key, and itself.

        Raises:
            DatasetError: the file is none of these.
        """
        held = self._parsed(file)
        pairs = held.items() if isinstance(held, dict) else enumerate(held, 1)
        for key, row in pairs:
            where = f"{file.name}, entry {key}"
            if isinstance(row, dict):
                yield where, str(key), row
            else:
                self.note(where, "is not an object; write it as one")

    def row_ids(self) -> RowIds:
        """Names for the rows of one file."""
        return RowIds(self)

    def text(self, where: str, row: Mapping[str, Any], key: str, *, needed: bool = True) -> str:
        """A text of a row; empty if it has none, which is a problem if it is needed."""
        value = row.get(key)
        if isinstance(value, str) and (value.strip() or not needed):
            return value
        if needed or value is not None:
            self.note(where, f"its {key} is {_shown(value)}; give it a text" if key in row else f"has no {key}")
        return ""

    def passes_over(self, where: str, images: int) -> bool:
        """Whether a row is left out because of its number of images; it is remembered."""
        if not self._multi_image_only or 2 <= images <= 4:
            return False
        self.passed_over.append(where)
        return True

    def images(self, where: str, names: Sequence[Any], folder: Path) -> tuple[Found, ...]:
        """The images that a row names; what is wrong with each is noted.

        Args:
            where: how to name the row.
            names: relative paths; any of the `ALIASES` may come before them, or lie in between.
            folder: from which they start; what is not there is looked for in the other `folders`.
        """
        found = [self._image(where, name, folder) for name in names]
        if not 2 <= len(names) <= 4:
            self.note(where, f"has {len(names)} images; a row has 2 to 4")
        return tuple(image for image in found if image)

    def refuse(self, what: str) -> None:
        """Raise if anything is wrong.

        Args:
            what: what was read, as a message calls it.

        Raises:
            DatasetError: lists the problems; of very many, the first ones.
        """
        if not self._problems:
            return
        more = len(self._problems) - _LISTED
        rest = [f"and {more:,} more of the {len(self._problems):,}"] if more > 0 else []
        raise DatasetError(f"{what} cannot be read; {self.remedy}. What is wrong:", self._problems[:_LISTED] + rest)

    def _parsed(self, file: Path) -> list[Any] | dict[str, Any]:
        remedy = "give a JSON list of rows, an object of them, or JSONL"
        try:
            text = file.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DatasetError(f"{file} cannot be read:", [f"not UTF-8 ({error}); {remedy}"]) from error
        try:
            lines = file.suffix == ".jsonl" and text.strip()
            held = list(_lines(text)) if lines else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{file} cannot be read:", [f"not valid JSON ({error}); {remedy}"]) from error
        if not isinstance(held, (list, dict)):
            raise DatasetError(f"{file} cannot be read:", [f"holds {_shown(held)}; {remedy}"])
        return held

    def _image(self, where: str, name: Any, folder: Path) -> Found | None:
        if not isinstance(name, str) or not name.strip():
            self.note(where, f"an image is {_shown(name)}; give the path of a file")
            return None
        path = PurePosixPath(name)
        if path.is_absolute() or re.match(r"[A-Za-z]:|~|\w+://", name):
            self.note(where, f"the image {_cut(name)} is not a relative path; write it relative to {self.root}")
        elif name.startswith("data:"):
            self.note(where, f"the image {_cut(name)} is a data URL; write it into a file, and give the file's path")
        elif ".." in path.parts:
            self.note(where, f"the image {_cut(name)} leads out of its folder; write the path without '..'")
        elif "\\" in name:
            self.note(where, f"the image {_cut(name)} has backslashes; write forward slashes")
        else:
            try:
                return self._look_up(where, name, _without_aliases(path), folder)
            except OSError as error:
                remedy = "give the path of a file that can be read"
                self.note(where, f"the image {_cut(name)} cannot be looked up ({error.strerror}); {remedy}")
        return None

    def _look_up(self, where: str, name: str, path: str, beside: Path) -> Found | None:
        for folder in dict.fromkeys([beside, *(beside / alias for alias in ALIASES), *self.folders]):
            file = folder / path
            if problem := self._link(file):
                self.note(where, f"the image {_cut(name)} {problem}")
                return None
            if file.is_file():
                return Found(name, file)
            if packed := self._packed(folder).get(path):
                return self._unpackable(where, name, *packed)
        self.note(where, f"the image {_cut(name)} is not there, neither as a file nor in a zip")
        return None

    def _unpackable(self, where: str, name: str, archive: Path, info: zipfile.ZipInfo) -> Found | None:
        if stat.S_ISLNK(info.external_attr >> 16):
            self.note(where, f"the image {name} is a link in {archive.name}; pack the file itself")
        elif info.file_size > _MAX_IMAGE_BYTES:
            self.note(where, f"the image {name} in {archive.name} unpacks to {info.file_size:,} bytes; shrink it")
        else:
            return Found(name, archive, info.filename)
        return None

    def _packed(self, folder: Path) -> Mapping[str, tuple[Path, zipfile.ZipInfo]]:
        """What a folder's zips hold: by the path in the zip, and as if each were unpacked into a folder of its name."""
        if folder not in self._zips:
            self._zips[folder] = self._members(folder)
        return self._zips[folder]

    def _members(self, folder: Path) -> dict[str, tuple[Path, zipfile.ZipInfo]]:
        held: dict[str, tuple[Path, zipfile.ZipInfo]] = {}
        for archive in sorted(folder.glob("*.zip")):
            if problem := self._link(archive):
                self.note(archive.name, problem)
                continue
            try:
                with zipfile.ZipFile(archive) as opened:
                    members = [info for info in opened.infolist() if not info.is_dir()]
            except (OSError, zipfile.BadZipFile) as error:
                self.note(archive.name, f"cannot be read as a zip ({error}); fetch it again, or unpack it beside it")
                continue
            for info in members:
                path = _without_aliases(PurePosixPath(info.filename))
                held.setdefault(path, (archive, info))
                held.setdefault(f"{archive.stem}/{path}", (archive, info))
        return held

    def _folders(self, top: Path) -> list[Path]:
        first = [top / alias for alias in ALIASES]
        second = [folder / alias for folder in first for alias in ALIASES]
        return [top, *(folder for folder in [*first, *second] if folder.is_dir() and not self._link(folder))]

    def _link(self, path: Path) -> str:
        """Why a path below the folder must not be followed; empty if it may."""
        for part in [path, *path.parents]:
            if part in (self.root, self.place):
                break
            if part not in self._safe:
                self._safe[part] = self._why_not(part)
            if self._safe[part]:
                return self._safe[part]
        return ""

    def _why_not(self, part: Path) -> str:
        if not part.is_symlink():
            return ""
        if self._links_to and part.resolve().is_relative_to(self._links_to):
            return ""
        return "is a link, or lies in a linked folder; put the file itself there"


class RowIds:
    """The ids of one file's rows: each once; a row without one is called by its position or key."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._first: dict[str, str] = {}

    def of(self, where: str, position: str, row: Mapping[str, Any]) -> str:
        """A row's id; what is wrong with it is noted."""
        value = row.get("id")
        if value is None:
            return position
        if isinstance(value, bool) or not isinstance(value, (int, str)) or not str(value).strip():
            self._files.note(where, f"its id is {_shown(value)}; give it a number, or leave it out")
            return position
        name = str(value)
        if name in self._first:
            self._files.note(where, f"has the id {name}, as has {self._first[name]}; give each row its own")
        self._first.setdefault(name, where)
        return name


# Opening a zip reads the names of all its members, so it is done once, not once an image; but again where the file has
# changed, and in a forked process, which would share its place in an open file with its parent.
@lru_cache(maxsize=8)
def _opened(path: Path, changed: int, process: int) -> zipfile.ZipFile:  # noqa: ARG001
    return zipfile.ZipFile(path)


def _lines(text: str) -> Iterator[Any]:
    """The values of JSON lines; an error says in which line it is."""
    # Not `splitlines`, which also cuts at characters that may stand in a text.
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                yield json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{error.msg}: line {number} column {error.colno}") from error


def _without_aliases(path: PurePosixPath) -> str:
    parts = list(path.parts)
    while len(parts) > 1 and parts[0] in ALIASES:
        del parts[0]
    return "/".join(parts)


def _shown(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False), 60)


def _cut(text: str, most: int = 255) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
