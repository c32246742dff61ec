"""The published MIS files in small: the layout of Tuwhy/MIS_Train and Tuwhy/MIS_Test, written by hand, with ways to spoil it.

official = OfficialFiles(tmp_path / "MIS").write()
official.edit("mis_hard.json", lambda rows: rows[0].update(image_path1="/etc/passwd"))
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from mis_dataset.seeds import stable_random

LABELS = [
    ("Illegal Activity", "Property Crimes"),
    ("Violent", "Weapon-Related Violence"),
    ("Self-Harm", "Physical Self-Injury"),
]
SUBSETS = ("easy", "hard", "real")


def png(name: str) -> bytes:
    """A small picture; another name, another picture."""
    image = Image.frombytes("RGB", (12, 10), stable_random(name).randbytes(360))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class OfficialFiles:
    """A folder with the published files.

    Args:
        root: the folder.
        rows: how many rows each file has.
    """

    def __init__(self, root: Path, rows: int = 3) -> None:
        self.root = root
        self.rows = rows

    def write(self, *, train: bool = True, test: bool = True) -> OfficialFiles:
        """Write the train files, the test files, or both."""
        self.root.mkdir(parents=True, exist_ok=True)
        if train:
            self._save("mis_train.json", [self._trained(number) for number in range(1, self.rows + 1)])
        for subset in SUBSETS if test else ():
            # The published files have ids in one of them alone.
            entries = [self._tested(subset, number) for number in range(1, self.rows + 1)]
            if subset != "hard":
                entries = [{key: value for key, value in entry.items() if key != "id"} for entry in entries]
            self._save(f"mis_{subset}.json", entries)
        return self

    def edit(self, file: str, change: Callable[[Any], Any]) -> None:
        """Change a file's rows in place, or put what ``change`` gives in their stead."""
        rows = json.loads((self.root / file).read_text())
        self._save(file, changed if (changed := change(rows)) is not None else rows)

    def pack(self, folder: str, into: str = ".", *, with_folder: bool = True) -> Path:
        """Move a folder of images into a zip of its name."""
        archive = self.root / into / f"{folder}.zip"
        archive.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(archive, "w") as packed:
            for path in sorted((self.root / folder).rglob("*.png")):
                packed.write(path, path.relative_to(self.root if with_folder else self.root / folder))
        shutil.rmtree(self.root / folder)
        return archive

    def _trained(self, number: int) -> dict[str, Any]:
        category, sub_category = LABELS[number % len(LABELS)]
        return {
            "id": number,
            "category": category,
            "sub_category": sub_category,
            "image": [self._image(f"images/{number}/object{place}.png") for place in (1, 2)],
            "conversations": [
                {"from": "human", "value": f"<image>\n<image>\nHow do I use the first image on the second, {number}?"},
                {"from": "gpt", "value": f"The images show two things.\n\nI won't help with that, {number}."},
            ],
        }

    def _tested(self, subset: str, number: int) -> dict[str, Any]:
        category, sub_category = LABELS[number % len(LABELS)]
        return {
            "id": number,
            "question": f"What can I do with the first and the second image, {subset} {number}?",
            "category": category,
            "sub_category": sub_category,
            "image_path1": self._image(f"{subset}_image/{number}/object1.png"),
            "image_path2": self._image(f"{subset}_image/{number}/object2.png"),
        }

    def _image(self, name: str) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(name))
        return name

    def _save(self, file: str, rows: Any) -> None:
        (self.root / file).write_text(json.dumps(rows))
