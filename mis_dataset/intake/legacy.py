"""The layout of the published MIS files.

Test: three JSON files in one folder, with ``easy_image``, ``hard_image`` and ``real_image`` beside them or in zips.
Train: one file in the style of ShareGPT. As the Hub has them (Tuwhy/MIS_Test, Tuwhy/MIS_Train)::

    mis_easy.json    [{"id": 7, "question": …, "category": …, "sub_category": …,
                       "image_path1": "easy_image/7/object1.png", "image_path2": "easy_image/7/object2.png"}, …]
    mis_train.json   [{"id": 7, "category": …, "sub_category": …, "image": ["…/object1.png", "…/object2.png"],
                       "conversations": [{"from": "human", "value": "<image>\\n<image>\\n…"},
                                         {"from": "gpt", "value": …}]}, …]

What is known to differ is read: some files have ids and others have none; train rows have no categories; a file is an
object instead of a list; the folder is called ``mis_test`` or ``MIS-test``, and images lie below ``zip_files``, packed
or not. Of what `mis export` adds, ``image_path3``, ``image_path4`` and ``intent`` are read, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mis_dataset.intake._entry import Entry
from mis_dataset.intake._files import Files
from mis_dataset.intake._trained import Style, intent_of
from mis_dataset.records import Subset

TRAIN = "mis_train.json"
TEST: Mapping[str, Subset] = {"mis_easy.json": "easy", "mis_hard.json": "hard", "mis_real.json": "real"}
IMAGE_KEYS = ("image_path1", "image_path2", "image_path3", "image_path4")


@dataclass(frozen=True, kw_only=True)
class Legacy:
    """Reads a folder with the files for training, for tests, or both; or one of the files."""

    remedy = (
        f"give the folder with {TRAIN}, or with {', '.join(TEST)}, and with their images; "
        "Tuwhy/MIS_Train and Tuwhy/MIS_Test on the Hub are such folders"
    )

    def read(self, files: Files) -> Iterator[Entry]:
        """The rows: train, easy, hard, real."""
        there = {name: files.find(name) for name in (TRAIN, *TEST)}
        if not any(there.values()):
            files.note(files.place.name, f"there is no {TRAIN}, nor any of {', '.join(TEST)}")
        if train := there.pop(TRAIN):
            yield from Style(("image", "images")).entries(files, train, files.beside(train), "train", "harmful")
        for name, file in there.items():
            if file:
                yield from _tested(files, file)
            elif any(there.values()) and files.place.is_dir():
                files.note(name, "is missing, though other test files are there; put it beside them")


def _tested(files: Files, file: Path) -> Iterator[Entry]:
    """The rows of a test file, which have no answers."""
    ids = files.row_ids()
    for where, position, row in files.rows(file):
        names = [row.get(key) for key in IMAGE_KEYS if key in IMAGE_KEYS[:2] or row.get(key) is not None]
        if files.passes_over(where, sum(name is not None for name in names)):
            continue
        yield Entry(
            where=where,
            file=file.name,
            row=ids.of(where, position, row),
            subset=TEST[file.name],
            intent=intent_of(files, where, row, "harmful"),
            question=files.text(where, row, "question"),
            images=files.images(where, names, files.beside(file)),
            category=files.text(where, row, "category", needed=False),
            sub_category=files.text(where, row, "sub_category", needed=False),
        )
