"""LLaMA-Factory: ShareGPT with ``images``, and the ``dataset_info.json`` that says how each file is laid out.

A row, unless ``dataset_info.json`` names other keys (https://github.com/hiyouga/LLaMA-Factory, ``data/README.md``)::

    {"conversations": [{"from": "human", "value": "<image><image>How …?"}, {"from": "gpt", "value": …}],
     "images": ["a.png", "b.png"]}

``category``, ``sub_category``, ``subset`` and ``intent`` are read where a row has them. A file ``mis_<subset>``, as
`mis export` writes it, names the subset of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mis_dataset.intake._entry import Entry
from mis_dataset.intake._files import Files
from mis_dataset.intake._trained import Style
from mis_dataset.options import option
from mis_dataset.schema import checker

_INFO = "dataset_info.json"
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_problems = checker({"properties": {"columns": _TEXTS, "tags": _TEXTS}})


@dataclass(frozen=True, kw_only=True)
class Llamafactory:
    """Reads a JSON or JSONL file, or the datasets with images of a ``dataset_dir``."""

    subset: Literal["train", "easy", "hard", "real"] = option(
        "train", "The subset of rows for which neither they nor their file say it."
    )
    intent: Literal["harmful", "benign"] = option("harmful", "The intent of rows that do not name theirs.")

    remedy = f"give a JSON or JSONL file of rows with images and conversations, or the folder with {_INFO}"

    def read(self, files: Files) -> Iterator[Entry]:
        """The rows, dataset by dataset."""
        if files.place.is_file():
            yield from Style(("images",)).entries(files, files.place, files.root, self.subset, self.intent)
            return
        info = files.place / _INFO
        if not info.is_file():
            files.note(_INFO, f"is not in {files.place}")
            return
        known = {where: entry for where, _, entry in files.rows(info) if _has_images(entry)}
        if not known:
            files.note(_INFO, "names no dataset with formatting 'sharegpt', a file_name, and images among its columns")
        for where, entry in known.items():
            odd = _problems(entry)
            for problem in odd:
                files.note(where, f"{problem}; write texts, as LLaMA-Factory has them")
            file = files.named(where, entry["file_name"])
            if file and not odd:
                yield from _style(entry).entries(files, file, files.root, self.subset, self.intent)


def _has_images(entry: Mapping[str, Any]) -> bool:
    columns = entry.get("columns")
    is_sharegpt = entry.get("formatting") == "sharegpt" and isinstance(entry.get("file_name"), str)
    return is_sharegpt and isinstance(columns, dict) and isinstance(columns.get("images"), str)


def _style(entry: Mapping[str, Any]) -> Style:
    columns, tags = entry["columns"], entry.get("tags", {})
    return Style(
        images=(columns["images"],),
        messages=columns.get("messages", "conversations"),
        role=tags.get("role_tag", "from"),
        content=tags.get("content_tag", "value"),
        user=tags.get("user_tag", "human"),
        assistant=tags.get("assistant_tag", "gpt"),
    )
