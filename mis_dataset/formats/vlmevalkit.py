"""VLMEvalKit: a TSV of questions whose images are base64.

VLMEvalKit takes a TSV of any name in ``$LMUData`` for a "Custom VQA dataset" if it has a ``question`` and no options
``A`` and ``B``. ``index`` is an integer, ``image`` a Python list of base64 texts, ``image_path`` a list of the file
names under which it keeps them. Source: ``docs/en/Development.md`` and ``vlmeval/dataset/{__init__,image_base}.py`` of
https://github.com/open-compass/VLMEvalKit (e8e78f0).

It does not judge such a dataset: run it with ``--mode infer`` and give the answers to ``mis evaluate --responses``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mis_dataset.formats._images import names, pictures
from mis_dataset.formats.source import TESTING, Source
from mis_dataset.options import option

_COLUMNS = ("index", "id", "question", "category", "l2-category", "intent", "split", "image_path", "image")


@dataclass(frozen=True, kw_only=True)
class Vlmevalkit:
    """One TSV a subset; the folder can be ``$LMUData``."""

    takes: ClassVar = TESTING

    name: str = option("MIS", "What the datasets' names begin with.", pattern=r"^\w+$")

    def write(self, source: Source, out: Path) -> None:
        """Write ``<name>_<subset>.tsv``."""
        for subset in source.subsets:
            with (out / f"{self.name}_{subset}.tsv").open("w", encoding="utf-8", newline="") as file:
                # All texts are quoted: not every Python does so where a text has a carriage return.
                table = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
                table.writerow(_COLUMNS)
                for index, row in enumerate(source.rows(subset)):
                    images = pictures(row)
                    known = [row["id"], row["question"], row["category"], row["sub_category"], row["intent"], subset]
                    # As Python would print the lists, for that is how VLMEvalKit reads them.
                    table.writerow([index, *known, names(row, images), [image.base64 for image in images]])
