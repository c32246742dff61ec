"""ms-swift: JSON lines with ``messages`` and ``images``.

A row::

    {"messages": [{"role": "user", "content": "<image><image>How …?"}, {"role": "assistant", "content": …}],
     "images": ["images/train/….png", …]}

Relative paths start from where swift is run, or from ``ROOT_IMAGE_DIR`` in its environment. Source: "Custom dataset" in
https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html, and ``swift/dataset/preprocessor/core.py`` of
the package ``ms-swift``, version 4.6.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mis_dataset.formats._images import ImageFolder, joined
from mis_dataset.formats._json import json_lines
from mis_dataset.formats._texts import tagged_question, tagged_response
from mis_dataset.formats.source import TRAINING, Source
from mis_dataset.options import option


@dataclass(frozen=True, kw_only=True)
class Swift:
    """One file a subset, and images beside it."""

    takes: ClassVar = TRAINING

    root: str = option("", "Put before the images' paths: where the folder will lie.")

    def write(self, source: Source, out: Path) -> None:
        """Write ``mis_<subset>.jsonl``."""
        for subset in source.subsets:
            images = ImageFolder(out, subset)
            with json_lines(out / f"mis_{subset}.jsonl") as add:
                for row in source.rows(subset):
                    messages = [
                        {"role": "user", "content": tagged_question(row, "<image>")},
                        {"role": "assistant", "content": tagged_response(row)},
                    ]
                    add({"messages": messages, "images": joined(self.root, images.add(row))})
