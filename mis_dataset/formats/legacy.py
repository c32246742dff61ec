"""The layout of the published MIS files, for clients that were written for them.

Test: ``mis_test`` with three JSON arrays and their images, as the scripts of https://github.com/DripNowhy/MIS read it::

    mis_easy.json    [{"id": 7, "question": …, "category": …, "sub_category": …,
                       "image_path1": "easy_image/7/object1.png", "image_path2": "easy_image/7/object2.png"}, …]

Clients open all three files, so all three are there; a subset without rows is an empty array. Train: ``mis_train``,
ShareGPT as on the Hub (Tuwhy/MIS_Train) with the key ``image``, and again with ``images``, as LLaMA-Factory wants it,
with the ``dataset_info.json`` by which it finds the file::

    mis_train.json   [{"id": 7, "category": …, "sub_category": …, "image": ["images/7/object1.png", …],
                       "conversations": [{"from": "human", "value": "<image>\\n<image>\\n…"},
                                         {"from": "gpt", "value": …}]}, …]

Ids are whole numbers, from 1 in each file, in the dataset's order. The layout knows harmful rows alone; if benign ones
are asked for, each row says its ``intent``. It has no place for twins, relations, objects and the parts of a label.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mis_dataset.formats._images import pictures
from mis_dataset.formats._json import json_array
from mis_dataset.formats._texts import tagged_question, tagged_response
from mis_dataset.formats.llamafactory import write_info
from mis_dataset.formats.source import Source, Takes
from mis_dataset.options import option


@dataclass(frozen=True, kw_only=True)
class Legacy:
    """``mis_test`` for the test rows, ``mis_train`` for the train rows."""

    max_images: int = option(
        2,
        "Leave out test rows with more images; published clients look at two, others need image_path3 and image_path4.",
        minimum=2,
        maximum=4,
    )

    @property
    def takes(self) -> Takes:
        """Harmful rows of both sides, those of test with as many images as the option says."""
        return Takes("both", "harmful", self.max_images)

    def write(self, source: Source, out: Path) -> None:
        """Write the folders of those splits that have rows."""
        test = [subset for subset in source.subsets if source.split(subset) == "test"]
        if test:
            for subset in ("easy", "hard", "real"):
                _write_test(source, subset, out / "mis_test", has_rows=subset in test)
        if "train" in source.subsets:
            _write_train(source, out / "mis_train")


def _write_test(source: Source, subset: str, folder: Path, *, has_rows: bool) -> None:
    folder.mkdir(exist_ok=True)
    with json_array(folder / f"mis_{subset}.json") as add:
        for number, row in enumerate(source.rows(subset) if has_rows else (), 1):
            paths = _write_images(row, folder, f"{subset}_image/{number}")
            add(
                {
                    "id": number,
                    "question": row["question"],
                    **_labels(row, source),
                    **{f"image_path{place}": path for place, path in enumerate(paths, 1)},
                }
            )


def _write_train(source: Source, folder: Path) -> None:
    folder.mkdir()
    with json_array(folder / "mis_train.json") as add, json_array(folder / "mis_train_llamafactory.json") as add_again:
        for number, row in enumerate(source.rows("train"), 1):
            paths = _write_images(row, folder, f"images/{number}")
            conversations = [
                {"from": "human", "value": tagged_question(row, "<image>\n")},
                {"from": "gpt", "value": tagged_response(row)},
            ]
            entry = {"id": number, **_labels(row, source)}
            add({**entry, "image": paths, "conversations": conversations})
            add_again({**entry, "images": paths, "conversations": conversations})
    write_info(folder, {"mis_train": "mis_train_llamafactory.json"})


def _labels(row: dict[str, Any], source: Source) -> dict[str, Any]:
    labels = {"category": row["category"], "sub_category": row["sub_category"]}
    return labels | ({"intent": row["intent"]} if source.intent == "all" else {})


def _write_images(row: dict[str, Any], folder: Path, place: str) -> list[str]:
    """Write a row's images; returns their paths from the folder."""
    (folder / place).mkdir(parents=True)
    paths = []
    for number, image in enumerate(pictures(row), 1):
        paths.append(f"{place}/object{number}{image.suffix}")
        (folder / paths[-1]).write_bytes(image.data)
    return paths
