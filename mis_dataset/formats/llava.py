"""LLaVA and InternVL: ``image`` and ``conversations``.

A row, as LLaVA-NeXT (``llava/train/train.py``, ``LazySupervisedDataset``, where ``image`` may be a list) and InternVL
(``internvl_chat_finetune.py``, ``multi_modal_multi_image_get_item``) read it::

    {"id": …, "image": ["images/train/….png", …],
     "conversations": [{"from": "human", "value": "<image>\\n<image>\\nHow …?"}, {"from": "gpt", "value": …}]}

LLaVA reads a JSON array and finds images below ``--image_folder``. InternVL reads JSON lines that a "meta" file names
(https://internvl.readthedocs.io/en/latest/get_started/chat_data_format.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from mis_dataset.formats._images import ImageFolder, joined
from mis_dataset.formats._json import json_array, json_lines, write_json
from mis_dataset.formats._texts import tagged_question, tagged_response
from mis_dataset.formats.source import TRAINING, Source
from mis_dataset.options import option


@dataclass(frozen=True, kw_only=True)
class Llava:
    """One file a subset, and images beside it."""

    takes: ClassVar = TRAINING

    dialect: Literal["llava", "internvl"] = option(
        "llava", "A JSON array for LLaVA; JSON lines and meta.json for InternVL."
    )
    root: str = option(".", "Where the folder will lie, as InternVL's meta.json has to say it.")

    def write(self, source: Source, out: Path) -> None:
        """Write ``mis_<subset>.json``; or ``mis_<subset>.jsonl`` and ``meta.json``."""
        internvl = self.dialect == "internvl"
        meta: dict[str, Any] = {}
        for subset in source.subsets:
            images = ImageFolder(out, subset)
            file, length = out / f"mis_{subset}.{'jsonl' if internvl else 'json'}", 0
            with (json_lines if internvl else json_array)(file) as add:
                for row in source.rows(subset):
                    add(_entry(row, images.add(row)))
                    length += 1
            [annotation] = joined(self.root, [file.name])
            meta[f"mis_{subset}"] = {
                "root": self.root,
                "annotation": annotation,
                "data_augment": False,
                "repeat_time": 1,
                "length": length,
            }
        if internvl:
            write_json(out / "meta.json", meta)


def _entry(row: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "category": row["category"],
        "sub_category": row["sub_category"],
        "intent": row["intent"],
        "image": paths,
        "conversations": [
            {"from": "human", "value": tagged_question(row, "<image>\n")},
            {"from": "gpt", "value": tagged_response(row)},
        ],
    }
