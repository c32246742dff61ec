"""What is known of a build, wherever one asks from, and how often its shards are read."""

import os
from pathlib import Path

import pytest
from recipes import tiny

from mis_dataset.pipeline import build
from mis_dataset.run.state import BuildState, stage_folder, stage_status


def rendered(work: Path, out: Path) -> tuple[int, int]:
    """Finished shards, and accepted items in them."""
    status = stage_status(work, BuildState.load(work, out))[1]
    return status.done, status.items


def test_shards_are_found_from_wherever_one_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    build(tiny(tmp_path), Path("mis"), Path("work"), to="render", storage="stored")
    monkeypatch.chdir("elsewhere")
    assert rendered(tmp_path / "work", tmp_path / "mis")[0] == 1


def test_a_shard_is_read_once_and_again_when_it_has_changed(tmp_path: Path):
    work, out = tmp_path / "work", tmp_path / "mis"
    build(tiny(tmp_path), out, work, to="render")
    before = rendered(work, out)
    assert before[1] > 0
    (shard,) = stage_folder(work, "render", BuildState.load(work, out).rounds[0]["render"]).iterdir()
    found = shard.stat()
    # Damaged behind our back: whoever read it would see that.
    shard.write_bytes(b"?" * found.st_size)
    os.utime(shard, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert rendered(work, out) == before
    os.utime(shard)
    assert rendered(work, out) == (0, 0)
