"""The official MIS data: a local copy, or the repositories on the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from mis_dataset import __version__
from mis_dataset.assemble.manifest import peek_manifest
from mis_dataset.errors import UsageError
from mis_dataset.intake import read_all
from mis_dataset.intake._files import Files
from mis_dataset.intake._rows import Taken
from mis_dataset.intake.legacy import TEST, TRAIN, Legacy
from mis_dataset.seeds import stable_digest

REPOSITORIES = ("Tuwhy/MIS_Train", "Tuwhy/MIS_Test")


def official_copy(folder: Path) -> Path | None:
    """The folder, if it has at least one of the published files, however damaged; None if not."""
    there = folder.is_dir() and any(map(Files(folder, Legacy.remedy).find, (TRAIN, *TEST)))
    return folder if there and not peek_manifest(folder) else None


@dataclass(frozen=True)
class Official:
    """The published rows, wherever they are.

    Args:
        copy: a local copy; None: the repositories on the Hub (HF_ENDPOINT), through the cache of its client.
        token: for the Hub; None: the one that its client finds.
    """

    copy: Path | None
    token: str | bool | None = None

    def version(self) -> str:
        """Identifies what would be read: the commits on the Hub, or every file's size and time of change.

        Raises:
            UsageError: it cannot be had.
        """
        if self.copy is None:
            # The few small files; a folder of the client's cache is called by its commit.
            commits = (self._snapshot(repository, "*.json").name for repository in REPOSITORIES)
            return stable_digest(__version__, *commits)
        if not self.copy.is_dir():
            raise UsageError(f"{self.copy} is not a folder; {Legacy.remedy}")
        return stable_digest(__version__, self.copy.resolve(), *_facts(self.copy))

    def read(self) -> list[Taken]:
        """All rows: train, easy, hard, real.

        Raises:
            UsageError: they cannot be had.
            DatasetError: rows or images are broken; all problems are listed.
        """
        if self.copy is None:
            snapshots = [self._snapshot(repository) for repository in REPOSITORIES]
            # What the client fetched are links into a folder of its own, two levels up.
            files = [Files(folder, _AGAIN, links_to=folder.parents[1]) for folder in snapshots]
            named = zip(files, REPOSITORIES, strict=True)
            return [row for part, name in named for row in read_all(Legacy(), part, name)]
        if peek_manifest(self.copy):
            raise UsageError(
                f"{self.copy} is a dataset of `mis`, not a copy of the published files; leave the config 'paper' out"
            )
        return read_all(Legacy(), Files(self.copy, Legacy.remedy), f"{self.copy} as the official MIS data")

    def _snapshot(self, repository: str, files: str | None = None) -> Path:
        # `huggingface_hub` itself reads HF_ENDPOINT only once, when it is imported.
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
        api = HfApi(endpoint=endpoint, token=self.token, library_name="mis-dataset", library_version=__version__)
        try:
            return Path(api.snapshot_download(repository, repo_type="dataset", allow_patterns=files))
        except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError, ValueError) as error:
            said = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"{repository} cannot be fetched from {api.endpoint} ({said}); check the connection and the token, or "
                "name a folder with a copy of it as data_dir"
            ) from error


_AGAIN = "delete it from the cache (`hf cache rm`) and fetch it again"


def _facts(folder: Path) -> Iterator[object]:
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        yield from (path.relative_to(folder), facts.st_size, facts.st_mtime_ns)
