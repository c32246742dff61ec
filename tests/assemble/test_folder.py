"""A directory takes another's place whole, wherever it lies and whatever else is in it; and no build that ends loses one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from recipes import contents, tiny

from mis_dataset.assemble.folder import fresh_directory, put_back, refuse_strangers
from mis_dataset.errors import OutputError, StorageError
from mis_dataset.pipeline import build

FINGERPRINT = "a" * 64
# What git, the Hub's client and a push leave in what is fetched from the Hub.
FOREIGN = {
    ".git/HEAD": b"ref: refs/heads/main\n",
    ".gitattributes": b"*.parquet filter=lfs\n",
    ".cache/huggingface/download/README.md.metadata": b"1\n",
    "CHANGELOG.md": b"# Changelog\n",
}


def fill(folder: Path, text: str) -> dict[str, bytes]:
    """Make a folder a dataset of one file; returns what is in it."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "rows.txt").write_text(text)
    manifest = {"format": 1, "name": "tiny", "fingerprint": FINGERPRINT, "files": {"data/rows.txt": {}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return contents(folder)


def add(folder: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def replaced(out: Path, text: str) -> dict[str, bytes]:
    """Put another dataset of the same fingerprint in the place of the one in ``out``."""
    with fresh_directory(out, FINGERPRINT) as folder:
        return fill(folder, text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_link_is_followed_again_and_again(tmp_path: Path):
    disk, link = tmp_path / "disk" / "mis", tmp_path / "build" / "mis"
    link.parent.mkdir()
    link.symlink_to(disk)
    # The first makes what the link names, the others replace it.
    for text in ("first", "second", "third"):
        written = replaced(link, text)
        assert contents(disk) == written
    assert link.is_symlink()
    assert (names(link.parent), names(disk.parent)) == (["mis"], ["mis"])


def test_what_was_moved_away_is_put_back_if_nothing_can_take_its_place(tmp_path: Path):
    out = tmp_path / "mis"
    before = replaced(out, "first")
    with pytest.raises(StorageError), fresh_directory(out, FINGERPRINT) as folder:
        shutil.rmtree(folder)
    assert contents(out) == before
    assert names(tmp_path) == ["mis"]


@pytest.mark.parametrize("is_made_again", [False, True])
def test_what_a_build_killed_within_the_swap_had_moved_away_is_put_back(tmp_path: Path, is_made_again: bool):
    out = tmp_path / "mis"
    before = replaced(out, "first")
    out.rename(tmp_path / ".mis.earlier")
    fill(tmp_path / ".mis.partial", "second")
    if is_made_again:
        out.mkdir()  # by somebody who missed it
    put_back(out)
    assert contents(out) == before


def test_it_is_put_back_before_a_build_looks_what_it_may_replace(tmp_path: Path):
    out = tmp_path / "mis"
    before = replaced(out, "first")
    out.rename(tmp_path / ".mis.earlier")
    with pytest.raises(OutputError, match="holds another dataset"), fresh_directory(out, "b" * 64):
        pass
    assert contents(out) == before


def test_nothing_is_put_back_over_what_is_there(tmp_path: Path):
    out = tmp_path / "mis"
    fill(tmp_path / ".mis.earlier", "first")
    now = fill(out, "second")
    put_back(out)
    assert contents(out) == now
    written = replaced(out, "third")
    assert contents(out) == written
    assert names(tmp_path) == ["mis"]


def test_what_is_none_of_the_datasets_moves_into_the_new_one(tmp_path: Path):
    out = tmp_path / "mis"
    replaced(out, "first")
    add(out, FOREIGN)
    written = replaced(out, "second")
    assert contents(out) == written | FOREIGN
    assert names(tmp_path) == ["mis"]


def test_a_build_killed_before_it_could_move_it_loses_none_of_it(tmp_path: Path):
    out = tmp_path / "mis"
    fill(tmp_path / ".mis.earlier", "first")
    add(tmp_path / ".mis.earlier", FOREIGN)
    fill(out, "second")
    written = replaced(out, "third")
    assert contents(out) == written | FOREIGN


def test_files_that_only_a_person_can_have_put_there_are_refused(tmp_path: Path):
    out = tmp_path / "mis"
    refuse_strangers(out)
    replaced(out, "first")
    add(out, FOREIGN)
    refuse_strangers(out)
    (out / "data" / ".notes").write_text("mine")
    with pytest.raises(OutputError, match=r"also holds data/\.notes; move that away"):
        refuse_strangers(out)


def test_the_current_folder_is_not_replaced_under_who_stands_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "mis"
    out.mkdir()
    monkeypatch.chdir(out)
    with pytest.raises(OutputError, match="is the current folder"):
        build(tiny(tmp_path), Path(), tmp_path / "work")
    # Before any work.
    assert not list((tmp_path / "work").glob("*-*/"))
