"""Answers that were given elsewhere, to be judged as they are: what the published MIS scripts write, or our own rows.

The scripts of the MIS paper (https://github.com/DripNowhy/MIS, ``evaluation/``) copy a row of the published test files
and add the answer, one JSON object a line; a JSON list of such objects is read, too::

    {"id": 7, "question": …, "category": …, "sub_category": …,
     "image_path1": "hard_image/7/object1.png", "image_path2": "hard_image/7/object2.png", "response": …}

Some published files have no ``id``; then a row's position stands for it, from 1. Ids are unique in one test file only,
so a row is called after its image folder, too: ``hard/7``. The image paths are relative to the folder in which the test
files lie, which goes by several names: any of `ALIASES` may come before a path, or lie in between.

Answers to the rows of one of our datasets need no more than the row's id::

    {"id": "…", "response": …}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from mis_dataset.errors import UsageError
from mis_dataset.evaluate.adapters.folder import Folder, read_json
from mis_dataset.evaluate.cases import Case, Source
from mis_dataset.evaluate.records import Answered
from mis_dataset.tables.files import read_jsonl

ALIASES = ("mis_test", "MIS-test", "zip_files")
"""What published clients call the folder of the test files, or of the images in it."""

_IMAGES = ("image_path1", "image_path2", "image_path3", "image_path4")
_SUBSETS = {"easy_image": "easy", "hard_image": "hard", "real_image": "real"}


def read_responses(path: Path, *, images: Path | None = None, data: str | None = None) -> list[Case]:
    """The rows of a file, each with its response; images are read later.

    Args:
        path: JSONL, or a JSON list.
        images: the folder in which the published test files lie; None: that of ``path``.
        data: the directory of the dataset of ours whose rows are answered; None: they are rows of the published files.

    Raises:
        UsageError: the file cannot be read, has no rows, or ``images`` is not a folder.
        DatasetError: rows lack something, are there twice, or an image is missing; all problems are listed. Or ``data``
            is not a dataset.
    """
    rows = _rows(path)
    if not rows:
        raise UsageError(f"{path} has no rows; write one answer a line")
    return _of_published(rows, path, images or path.parent) if data is None else _of_dataset(rows, path, data)


def _of_published(rows: Any, path: Path, images: Path) -> list[Case]:
    folder = Folder(images, "name the folder that has easy_image, hard_image and real_image")
    for entry, position, row in folder.entries(rows, path.name):
        keys = [key for key in _IMAGES if key in _IMAGES[:2] or key in row]
        names = [_without_aliases(folder.text(entry, row, key)) for key in keys]
        answered = _row_of(row, _id(folder, entry, row, position), names, _response(folder, entry, row))
        found = [folder.image(entry, name, ".", *ALIASES) for name in names]
        folder.add(entry, answered, folder.text(entry, row, "question"), found)
    return folder.cases(f"{path} with the images in {images}")


def _of_dataset(rows: Any, path: Path, data: str) -> list[Case]:
    source = Source.of(data)
    asked = {case.row.id: case for case in source.cases()}
    folder = Folder(source.directory, "give answers to rows of its test splits")
    for entry, _, row in folder.entries(rows, path.name):
        name, response = folder.text(entry, row, "id"), _response(folder, entry, row)
        if name in asked:
            folder.take(entry, replace(asked[name], row=replace(asked[name].row, response=response)))
        elif name:
            folder.note(entry, f"{source.name} has no test row {name}")
    return folder.cases(f"{path} with the rows of {source.directory}")


def _rows(path: Path) -> Any:
    """The objects of a JSON list, or of JSONL."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); give JSONL or a JSON list in UTF-8") from error
    if text.startswith("{\n"):
        raise UsageError(f"{path} is neither JSONL nor a JSON list; write one object a line, or a list of them")
    return read_json(path) if text.startswith("[") else read_jsonl(path)


def _row_of(row: Mapping[str, Any], name: str, images: Sequence[str], response: str) -> Answered:
    subset = _SUBSETS.get(images[0].partition("/")[0], "")
    return Answered(
        id=f"{subset}/{name}" if subset else name,
        intent="harmful",
        response=response,
        subset=subset,
        category=str(row.get("category") or ""),
        sub_category=str(row.get("sub_category") or ""),
        images=len(images),
    )


def _id(folder: Folder, entry: str, row: Mapping[str, Any], position: str) -> str:
    value = row.get("id")
    if value is None:
        return position
    if not isinstance(value, (int, str)) or not str(value).strip():
        folder.note(entry, f"its id is {value!r}; give it a number, or leave it out in all rows")
    return str(value)


def _response(folder: Folder, entry: str, row: Mapping[str, Any]) -> str:
    """The answer; an empty one is an answer, too."""
    value = row.get("response")
    if isinstance(value, str):
        return value
    folder.note(entry, "has no response; give it a text, which may be empty")
    return ""


def _without_aliases(path: str) -> str:
    parts = list(PurePosixPath(path).parts)
    while parts and parts[0] in ALIASES:
        del parts[0]
    return "/".join(parts) if not path.startswith("/") else path
