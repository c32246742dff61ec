"""Builds that are told to stop: what is in flight is kept, and the same command goes on and repeats nothing."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from chat_server import Call, ChatServer, Reply, later
from durable import Repeats, durable_text, repeats, script
from mis_process import build_command, finish, mis, wait_until
from recipes import lasting, tiny

from mis_dataset.pipeline import build
from mis_dataset.run.monitor import load_progress

ANSWER_S = 1.0


def slowly(call: Call) -> Reply:
    """What is in flight takes a while to come in."""
    return later(script(call), ANSWER_S)


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_build_that_is_told_to_stop_keeps_what_is_in_flight(tmp_path: Path, number: int, code: int, said: str):
    log = tmp_path / "drawn.log"
    with ChatServer(slowly) as server:
        recipe = tiny(tmp_path, durable_text(server.base_url, log, shard_size=4))
        with mis(build_command(tmp_path)) as process:
            wait_until(lambda: len(server.calls) >= 3)
            begun = time.monotonic()
            process.send_signal(number)
            done = finish(process)
        # Whoever is in flight has a second to go; the rest is for a busy machine.
        assert time.monotonic() - begun < ANSWER_S + 15
        assert done.code == code
        assert f"{said}; finished work is kept: the same command goes on from there" in done.err
        assert "Traceback" not in done.err
        progress = load_progress(tmp_path / "work", tmp_path / "mis")
        assert progress
        assert (progress.state, progress.told["why"]) == ("stopped", "")

        server.script = script
        build(recipe, tmp_path / "mis", tmp_path / "work")
        assert repeats(log, server.calls) == Repeats(0, 0, 0)
        build(recipe, tmp_path / "again", tmp_path / "other_work")
    assert lasting(tmp_path / "again") == lasting(tmp_path / "mis")


def test_a_build_that_waits_for_one_slow_answer_is_told_to_stop(tmp_path: Path):
    # All other answers of the shard are there, and the first row of all may take longer than anybody waits.
    log = tmp_path / "drawn.log"
    with ChatServer(lambda call: later(script(call), 600 if call.number == 0 else 0)) as server:
        text = durable_text(server.base_url, log).replace("max_retries = 0", "max_retries = 0\ngrace_s = 1.0")
        recipe = tiny(tmp_path, text)
        with mis(build_command(tmp_path)) as process:
            wait_until(lambda: len(server.calls) >= 3)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            done = finish(process)
        assert time.monotonic() - begun < 1 + 15
        assert done.code == 130

        server.script = script
        build(recipe, tmp_path / "mis", tmp_path / "work")
        # The slow one alone was given up.
        assert repeats(log, server.calls) == Repeats(0, 1, 0)
