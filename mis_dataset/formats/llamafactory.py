"""LLaMA-Factory: ShareGPT with ``images``, and the ``dataset_info.json`` by which it finds the files.

A row::

    {"conversations": [{"from": "human", "value": "<image><image>How …?"}, {"from": "gpt", "value": …}],
     "images": ["images/train/….png", …]}

The number of ``<image>`` tags has to be that of the images. Paths are looked for below ``media_dir``, which is
``dataset_dir`` unless it is set. Source: ``data/README.md`` of https://github.com/hiyouga/LLaMA-Factory ("Sharegpt
Format", "Multimodal Image Dataset"), and ``llamafactory/data/{parser,converter}.py`` of the package, version 0.9.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mis_dataset.formats._images import ImageFolder
from mis_dataset.formats._json import json_array, write_json
from mis_dataset.formats._texts import tagged_question, tagged_response
from mis_dataset.formats.source import TRAINING, Source


@dataclass(frozen=True, kw_only=True)
class Llamafactory:
    """One dataset a subset, called ``mis_<subset>``; the folder is the ``dataset_dir``."""

    takes: ClassVar = TRAINING

    def write(self, source: Source, out: Path) -> None:
        """Write ``mis_<subset>.json`` and ``dataset_info.json``."""
        for subset in source.subsets:
            images = ImageFolder(out, subset)
            with json_array(out / f"mis_{subset}.json") as add:
                for row in source.rows(subset):
                    add(_entry(row, images.add(row)))
        write_info(out, {f"mis_{subset}": f"mis_{subset}.json" for subset in source.subsets})


def write_info(folder: Path, files: Mapping[str, str]) -> None:
    """Write ``dataset_info.json``: the file of each dataset, and how all of them are laid out."""
    layout = {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"},
    }
    write_json(folder / "dataset_info.json", {name: {"file_name": file, **layout} for name, file in files.items()})


def _entry(row: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "category": row["category"],
        "sub_category": row["sub_category"],
        "intent": row["intent"],
        "conversations": [
            {"from": "human", "value": tagged_question(row, "<image>")},
            {"from": "gpt", "value": tagged_response(row)},
        ],
        "images": paths,
    }
