"""LLaVA and InternVL: ``image`` and ``conversations``, as a JSON array or JSON lines.

A row, as LLaVA (https://github.com/haotian-liu/LLaVA, ``docs/Finetune_Custom_Data.md``) has it, with several images as
LLaVA-NeXT and InternVL do::

    {"id": …, "image": ["a.png", "b.png"],
     "conversations": [{"from": "human", "value": "<image>\\n<image>\\nHow …?"}, {"from": "gpt", "value": …}]}

``category``, ``sub_category``, ``subset`` and ``intent`` are read where a row has them. A file ``mis_<subset>``, as
`mis export` writes it, names the subset of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mis_dataset.intake._entry import Entry
from mis_dataset.intake._files import Files
from mis_dataset.intake._trained import Style
from mis_dataset.options import option


@dataclass(frozen=True, kw_only=True)
class Llava:
    """Reads a JSON or JSONL file, or all of a folder but those that are laid out for LLaMA-Factory."""

    subset: Literal["train", "easy", "hard", "real"] = option(
        "train", "The subset of rows for which neither they nor their file say it."
    )
    intent: Literal["harmful", "benign"] = option("harmful", "The intent of rows that do not name theirs.")

    remedy = "give a JSON or JSONL file of rows with image and conversations, or the folder with such files"

    def read(self, files: Files) -> Iterator[Entry]:
        """The rows, file by file."""
        there = files.annotations()
        # Where all are another's, all that is wrong with them is told.
        for file in [file for file in there if not _has_other_key(file)] or there:
            yield from Style(("image",)).entries(files, file, files.root, self.subset, self.intent)


def _has_other_key(file: Path) -> bool:
    """Whether the images of all rows stand under the key of LLaMA-Factory: often the same rows are there with each."""
    rows = [row for _, _, row in Files(file, Llava.remedy).rows(file)]
    return bool(rows) and all("images" in row and "image" not in row for row in rows)
