"""A disk that is full, wherever a build writes: one message with a remedy, and nothing that was done is lost.

The disks are real, and a few kilobytes large: memory file systems, mounted where only one process and its children see.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from killed import Ending, Killer, killing
from mis_process import build_command, finish, mis
from recipes import contents, tiny, tiny_text

from mis_dataset.errors import StorageError
from mis_dataset.pipeline import build
from mis_dataset.recipe import Recipe

ALONE = ("unshare", "--user", "--map-root-user", "--mount")
"""Run a command that may mount, and whose mounts nobody else sees."""


@dataclass(frozen=True)
class Lab:
    """A process that mounts small disks and builds on them."""

    killer: Killer
    folder: Path

    def mount(self, place: Path, kilobytes: int, *options: str) -> None:
        """Put a small disk in a place; or, with ``remount``, make it larger."""
        place.mkdir(parents=True, exist_ok=True)
        inside = ("nsenter", f"--target={self.killer.pid}", "--user", "--mount", "--preserve-credentials")
        listed = ",".join((*options, f"size={kilobytes}k"))
        subprocess.run([*inside, "mount", "-t", "tmpfs", "-o", listed, "none", str(place)], check=True)

    def build(self) -> Ending:
        return self.killer.build(self.folder / "recipe.toml", self.folder / "out" / "mis", self.folder / "work")

    def built(self) -> dict[str, bytes]:
        """The dataset, as the process sees it."""
        return contents(Path(f"/proc/{self.killer.pid}/root") / str(self.folder)[1:] / "out" / "mis")


@dataclass(frozen=True)
class Whole:
    """An uninterrupted build."""

    recipe: Recipe
    work: Path
    dataset: dict[str, bytes]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    recipe = tiny(folder, tiny_text(run="shard_size = 3"))
    build(recipe, folder / "mis", folder / "work")
    return Whole(recipe, folder / "work", contents(folder / "mis"))


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    missing = [name for name in ("unshare", "nsenter", "mount") if not shutil.which(name)]
    if missing or subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk (user namespaces are off)")
    with killing(*ALONE) as process:
        yield process


@pytest.fixture
def lab(tmp_path: Path, killer: Killer) -> Lab:
    tiny(tmp_path, tiny_text(run="shard_size = 3"))
    return Lab(killer, tmp_path)


def place_of(part: str, folder: Path, whole: Whole) -> tuple[Path, int]:
    """Where a part of the work is written, and a disk's size in kilobytes that is too small for it."""
    work = folder / "work"
    match part:
        case "images":
            return work / "images", 20
        case "shards":
            (stage,) = whole.work.glob("teach-*")
            return work / stage.name, 4
        case "ledger":
            # Its file lies among others; a link leads it to a disk of its own.
            work.mkdir()
            (work / "ledger.sqlite").symlink_to(folder / "disk" / "ledger.sqlite")
            return folder / "disk", 60
        case "progress":
            return work / "progress", 4
        case _:
            return folder / "out", 100


@pytest.mark.parametrize("part", ["images", "shards", "ledger", "progress", "dataset"])
def test_a_full_disk_is_said_with_a_remedy_and_more_room_is_all_it_takes(lab: Lab, whole: Whole, part: str):
    place, kilobytes = place_of(part, lab.folder, whole)
    lab.mount(place, kilobytes)
    ending = lab.build()
    assert re.match(rf"StorageError: .*{re.escape(str(lab.folder))}.*free (some|space)", ending.error), ending.error
    assert "\n" not in ending.error
    lab.mount(place, 10_000, "remount")
    assert lab.build().error == ""
    assert lab.built() == whole.dataset


@pytest.mark.parametrize("kilobytes", [8, 64])
def test_a_limit_on_the_size_of_files_is_said_with_a_remedy(tmp_path: Path, whole: Whole, kilobytes: int):
    # Where nobody may mount, this is as near to a full disk as one gets.
    recipe = tiny(tmp_path, tiny_text(run="shard_size = 3"))
    limited = ("bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "_")
    with mis(build_command(tmp_path), before=limited) as process:
        done = finish(process)
    assert done.code == StorageError.exit_code
    (message,) = (line for line in done.err.splitlines() if line.startswith("error: "))
    assert re.search(rf"{re.escape(str(tmp_path))}.*(ulimit -f|free space)", message)
    assert "Traceback" not in done.err
    build(recipe, tmp_path / "mis", tmp_path / "work")
    assert contents(tmp_path / "mis") == whole.dataset
