"""A clock that is set forward and back by hours while a build goes: nothing waits for it, and nothing believes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chat_server import ChatServer
from durable import Repeats, durable_text, repeats, script
from mis_process import build_command, finish, mis, wait_until
from recipes import lasting, tiny

from mis_dataset.errors import OutputError
from mis_dataset.pipeline import build
from mis_dataset.run.lock import working_in
from mis_dataset.run.monitor import Progress, load_progress

CLOCK = """
import time
real, hours = time.time, 5
def jumping():
    '''Five hours ahead, then as many behind, changing four times a second.'''
    return real() + (1 if time.monotonic() % 0.5 < 0.25 else -1) * hours * 3600
time.time = jumping
"""
"""Python imports a module of the name ``sitecustomize`` before anything else."""


def test_a_build_does_not_mind_a_clock_that_jumps(tmp_path: Path):
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    seen: list[Progress] = []
    log, work = tmp_path / "drawn.log", tmp_path / "work"

    def looked_at() -> bool:
        progress = load_progress(work, tmp_path / "mis")
        if progress and (not seen or seen[-1].told != progress.told):
            seen.append(progress)
            if progress.state == "running":
                # Whatever a clock says, somebody works here.
                with pytest.raises(OutputError, match="is in use by process"), working_in(work):
                    pass
        return process.poll() is not None

    with ChatServer(script) as server:
        recipe = tiny(tmp_path, durable_text(server.base_url, log, seconds=0.1))
        with mis(build_command(tmp_path), paths=[tmp_path / "clock"]) as process:
            wait_until(looked_at)
            done = finish(process)
        assert done.code == 0, done.err
        assert repeats(log, server.calls) == Repeats(0, 0, 0)
        build(recipe, tmp_path / "again", tmp_path / "other_work")
    assert lasting(tmp_path / "mis") == lasting(tmp_path / "again")
    # What is told is reckoned by a clock that nobody sets.
    assert float(re.findall(r"is ready \((.*) s\)", done.out)[0]) < 60
    assert [progress.state for progress in seen[-2:]] == ["running", "finished"]
    for stage in (stage for progress in seen for stage in progress.told["stages"]):
        assert 0 <= stage["busy_s"] <= 60
        assert 0 <= stage["elapsed_s"] <= 60
        assert 0 <= stage["idle"] <= 1
        assert stage["per_second"] >= 0
        assert stage["eta_s"] is None or 0 <= stage["eta_s"] < 3600
