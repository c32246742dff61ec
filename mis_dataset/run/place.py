"""Where a build works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mis_dataset.run.images import ImageStore
from mis_dataset.storage import located


def work_beside(out: Path) -> Path:
    """The folder in which the dataset in ``out`` is made, unless another one is named: ``work`` beside it."""
    return out.resolve().parent / "work"


@dataclass(frozen=True)
class Place:
    """The folder of the driver, and where what it has made lies; the same folder unless storage is named."""

    work: Path
    """Ledger, lock, progress: a folder of this machine."""
    storage: str = ""
    """Of shards and images, a folder or a URL that every worker reaches; empty: the work folder."""

    @property
    def store(self) -> Path:
        """Where shards and images lie."""
        return located(self.storage) if self.storage else self.work

    @property
    def images(self) -> ImageStore:
        """The images."""
        return ImageStore(self.store / "images")

    def resolved(self) -> Place:
        """The same for processes that run elsewhere: no relative folders."""
        is_folder = self.storage and "://" not in self.storage
        return Place(self.work.resolve(), str(Path(self.storage).resolve()) if is_folder else self.storage)
