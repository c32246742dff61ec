"""What may lie in a work folder that should not: halves, damage, and the work of others. Never taken for done."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from chat_server import ChatServer
from click.testing import CliRunner
from durable import CONCURRENCY, durable_text, repeats, script
from killed import Killer, killing
from recipes import contents, lasting, tiny, tiny_text

from mis_dataset.cli import cli
from mis_dataset.errors import OutputError, StorageError
from mis_dataset.pipeline import build
from mis_dataset.run import draw
from mis_dataset.run.lock import working_in
from mis_dataset.run.progress import Silent

PAGE = 4096
"""Of SQLite's files, in bytes."""
STAGES = ("compose", "render", "teach", "screen")
TEXT = tiny_text(run="shard_size = 3")


class Notes(Silent):
    """Remembers what a person would be told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@dataclass(frozen=True)
class Begun:
    """A build of the tiny recipe, as far as ``screen``, and what it comes to."""

    work: Path
    dataset: dict[str, bytes]

    def copied(self, folder: Path) -> Path:
        """A copy of its work folder, to do damage to."""
        return Path(shutil.copytree(self.work, folder / "work"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    folder = tmp_path_factory.mktemp("begun")
    recipe = tiny(folder, TEXT)
    build(recipe, folder / "mis", folder / "work", to="screen")
    work = Path(shutil.copytree(folder / "work", folder / "as it was"))
    build(recipe, folder / "mis", folder / "work")
    return Begun(work, contents(folder / "mis"))


def only(work: Path, stage: str) -> Path:
    (folder,) = work.glob(f"{stage}-*")
    return folder


# Half-written files


def test_what_a_killed_build_was_writing_is_in_nobodys_way_and_clean_removes_it(tmp_path: Path, begun: Begun):
    work = begun.copied(tmp_path)
    places = [work / "builds", work / "progress", next((work / "images").iterdir()), *work.glob("*-*")]
    halves = [place / ".half.123-456.tmp" for place in places if place.is_dir()]
    for half in halves:
        half.write_bytes(b"PAR1 cut sho")
    (tmp_path / ".mis.partial").mkdir()
    (tmp_path / ".mis.partial" / "README.md").write_text("cut sho")
    build(tiny(tmp_path, TEXT), tmp_path / "mis", work)
    assert contents(tmp_path / "mis") == begun.dataset
    assert not (tmp_path / ".mis.partial").exists()
    done = CliRunner().invoke(cli, ["clean", str(work), "--yes"])
    assert done.exit_code == 0, done.output
    assert not [half for half in halves if half.exists()]


@pytest.mark.parametrize("name", [".mis.partial", ".mis.earlier"])
def test_a_dataset_that_was_being_replaced_is_replaced(tmp_path: Path, begun: Begun, name: str):
    # Killed between two renames, or while it removed what was there before.
    (tmp_path / name).mkdir()
    (tmp_path / name / "manifest.json").write_text("{}")
    build(tiny(tmp_path, TEXT), tmp_path / "mis", begun.copied(tmp_path))
    assert contents(tmp_path / "mis") == begun.dataset
    assert not (tmp_path / name).exists()


# Shards of other recipes


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("change", [("seed = 11", "seed = 12"), ("size = 64", "size = 72")], ids=["seed", "size"])
def test_a_shard_of_another_recipe_is_not_taken_for_ones_own(
    tmp_path: Path, begun: Begun, stage: str, change: tuple[str, str]
):
    work, other = begun.copied(tmp_path), tmp_path / "other_work"
    build(tiny(tmp_path, TEXT.replace(*change)), tmp_path / "other", other, to="screen")
    mine, theirs = (only(folder, stage) / "shard-00000.parquet" for folder in (work, other))
    is_same = mine.parent.name == theirs.parent.name
    shutil.copy(theirs, mine)
    notes = Notes()
    build(tiny(tmp_path, TEXT), tmp_path / "mis", work, reporter=notes)
    assert contents(tmp_path / "mis") == begun.dataset
    assert is_same or any("again" in note and str(mine) in note for note in notes.notes)


# Two builds


def test_a_second_build_in_the_same_work_folder_is_refused_and_does_no_harm(tmp_path: Path, begun: Begun):
    work, recipe = begun.copied(tmp_path), tiny(tmp_path, TEXT)
    before = contents(work)
    with working_in(work):
        with pytest.raises(OutputError, match=r"is in use by process .*name another --work"):
            build(recipe, tmp_path / "mis", work)
        assert contents(work).items() >= before.items()
    build(recipe, tmp_path / "mis", work)
    assert contents(tmp_path / "mis") == begun.dataset


def test_a_second_build_into_the_same_directory_is_refused_whatever_its_work_folder(tmp_path: Path, begun: Begun):
    work, recipe, out = begun.copied(tmp_path), tiny(tmp_path, TEXT), tmp_path / "mis"

    class Second(Silent):
        def finish(self, stage: str, summary: str) -> None:
            with pytest.raises(OutputError, match=r"mis is being built by process .*name another --out"):
                build(recipe, out, tmp_path / "other")

    build(recipe, out, work, reporter=Second())
    assert contents(out) == begun.dataset
    # Nothing is left in anybody's way, and nothing was begun.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mis", "recipe.toml", "work"]


# A damaged ledger


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with killing() as process:
        yield process


def halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def garbled(path: Path) -> None:
    """The last page is noise."""
    data = path.read_bytes()
    path.write_bytes(data[:-PAGE] + random.Random(3).randbytes(PAGE))


@pytest.mark.parametrize("damage", [halved, garbled, Path.unlink])
def test_a_journal_with_a_damaged_tail_costs_what_was_in_the_tail(tmp_path: Path, killer: Killer, damage):
    log = tmp_path / "drawn.log"
    with ChatServer(script) as server:
        recipe = tiny(tmp_path, durable_text(server.base_url, log, shard_size=100))
        ending = killer.build(tmp_path / "recipe.toml", tmp_path / "mis", tmp_path / "work", "taught", 0.0)
        assert ending.was_killed
        asked = len(server.calls)
        damage(tmp_path / "work" / "ledger.sqlite-wal")
        build(recipe, tmp_path / "mis", tmp_path / "work")
        found = repeats(log, server.calls)
        build(recipe, tmp_path / "again", tmp_path / "other_work")
    mended, whole = (lasting(tmp_path / name) for name in ("mis", "again"))
    # What it had cost is gone with it, and only that.
    mended["manifest.json"]["spent"] = whole["manifest.json"]["spent"]
    assert mended == whole
    if damage is garbled:
        # One commit, and what was in flight when it was killed.
        assert found.drawings <= 1 + draw._ENCODING_AHEAD + 1
        assert found.labels <= CONCURRENCY + 1
    assert found.labels + found.verdicts <= asked


@pytest.mark.parametrize("page", [0, 1, -1])
def test_a_ledger_that_is_damaged_stops_the_build_and_a_whole_copy_is_all_it_takes(
    tmp_path: Path, begun: Begun, page: int
):
    work = begun.copied(tmp_path)
    shutil.rmtree(only(work, "render"))
    ledger = work / "ledger.sqlite"
    data = bytearray(whole := ledger.read_bytes())
    at = page * PAGE % len(data)
    data[at : at + PAGE] = random.Random(3).randbytes(PAGE)
    ledger.write_bytes(data)
    recipe = tiny(tmp_path, TEXT)
    with pytest.raises(StorageError, match=r"ledger\.sqlite.*put back a copy that is whole"):
        build(recipe, tmp_path / "mis", work)
    assert not (tmp_path / "mis").exists()
    ledger.write_bytes(whole)
    build(recipe, tmp_path / "mis", work)
    assert contents(tmp_path / "mis") == begun.dataset


@pytest.mark.parametrize("rest", [(), ("-wal", "-shm")], ids=["alone", "with a journal"])
def test_without_a_copy_a_damaged_ledger_is_moved_away_and_finished_shards_stay(
    tmp_path: Path, begun: Begun, rest: tuple[str, ...]
):
    work, recipe = begun.copied(tmp_path), tiny(tmp_path, TEXT)
    shutil.rmtree(only(work, "screen"))
    ledger = work / "ledger.sqlite"
    for name in ("", *rest):
        ledger.with_name(ledger.name + name).write_bytes(random.Random(3).randbytes(2 * PAGE))
    with pytest.raises(StorageError, match=r"it is damaged: .*if there is none, move it away: finished shards stay"):
        build(recipe, tmp_path / "mis", work)
    ledger.unlink()
    made = {path: path.stat().st_mtime_ns for path in work.glob("*/shard-*.parquet")}
    build(recipe, tmp_path / "mis", work)
    assert contents(tmp_path / "mis") == begun.dataset
    assert {path: path.stat().st_mtime_ns for path in made} == made


# Folders where files should be, and files where folders should


@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_in_the_place_of_a_shard_is_said_with_a_remedy(tmp_path: Path, begun: Begun, stage: str):
    work, recipe = begun.copied(tmp_path), tiny(tmp_path, TEXT)
    shard = only(work, stage) / "shard-00000.parquet"
    shard.unlink()
    shard.mkdir()
    with pytest.raises(StorageError, match=f"{shard} is a folder, where a file has to be; move it away"):
        build(recipe, tmp_path / "mis", work)
    shard.rmdir()
    build(recipe, tmp_path / "mis", work)
    assert contents(tmp_path / "mis") == begun.dataset
