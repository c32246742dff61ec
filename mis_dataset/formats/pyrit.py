"""PyRIT: seed prompts in YAML, the images and the question of a row as one group.

A row gives an objective, one ``image_path`` seed per image and one ``text`` seed, which ``prompt_group_alias`` holds
together; seeds of one ``sequence`` are sent as one message, in the file's order. PyRIT renders every value as a Jinja
template, so that braces are escaped here. Image paths start from where PyRIT is run, unless ``root`` is set. Source:
https://github.com/Azure/PyRIT (``doc/code/datasets``), and ``pyrit/models/seeds`` of the package, version 1.1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TextIO

import yaml

from mis_dataset.formats._images import ImageFolder, joined
from mis_dataset.formats.source import Source, Takes
from mis_dataset.options import option


@dataclass(frozen=True, kw_only=True)
class Pyrit:
    """One dataset a subset, and images beside it; harmful rows, since a benign twin is no attack."""

    takes: ClassVar = Takes("test", "harmful")

    root: str = option("", "Put before the images' paths: where the folder will lie.")

    def write(self, source: Source, out: Path) -> None:
        """Write ``mis_<subset>.prompt``, which is YAML."""
        for subset in source.subsets:
            images = ImageFolder(out, subset)
            with (out / f"mis_{subset}.prompt").open("w", encoding="utf-8", newline="\n") as file:
                _dump({"dataset_name": f"mis_{subset}", "source": source.name}, file)
                file.write("seeds:\n")
                for row in source.rows(subset):
                    _dump(list(_seeds(row, joined(self.root, images.add(row)))), file)


def _seeds(row: dict[str, Any], paths: list[str]) -> Iterator[dict[str, Any]]:
    # What is not known of an imported row is left out.
    common = {
        "prompt_group_alias": row["id"],
        "harm_categories": [row[key] for key in ("category", "sub_category") if row[key]],
        "metadata": {key: row[key] for key in ("id", "subset", "intent", "relation") if row[key]},
    }
    objects = "; ".join(row["objects"] or ())
    objective = f"{row['question']} (The images show: {objects}.)" if objects else row["question"]
    yield {"seed_type": "objective", "value": _literal(objective), **common}
    parts = [("image_path", path) for path in paths] + [("text", row["question"])]
    for kind, value in parts:
        yield {"value": _literal(value), "data_type": kind, "role": "user", "sequence": 0, **common}


def _literal(text: str) -> str:
    """A Jinja template that renders as the text."""
    return re.sub(r"\{", "{{ '{' }}", text) if re.search(r"\{[{%#]", text) else text


class _Dumper(yaml.SafeDumper):
    """Writes a value that comes twice out twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _dump(value: Any, file: TextIO) -> None:
    yaml.dump(value, file, _Dumper, sort_keys=False, allow_unicode=True, width=10_000)
