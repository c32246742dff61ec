"""``mis status`` of a build that goes, one that was killed, and one that is done."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from recipes import tiny

from mis_dataset.cli import cli
from mis_dataset.errors import OutputError
from mis_dataset.ledger import Ledger, Usage
from mis_dataset.pipeline import build
from mis_dataset.run.monitor import Monitor
from mis_dataset.run.post import PostState
from mis_dataset.run.progress import Silent
from mis_dataset.run.state import BuildState, progress_path

RENDER = PostState("render", 40, 0, 10.0, 8, 1, 0, 3, 1, busy_s=1.0, elapsed_s=4.0, is_complete=False)


@dataclass(frozen=True)
class Going:
    """A build into ``mis`` that has begun, as far as its files tell."""

    folder: Path
    monitor: Monitor

    def status(self, *options: str) -> Result:
        work = ["--work", str(self.folder / "work")]
        return CliRunner().invoke(cli, ["status", str(self.folder / "mis"), *work, *options])

    def kill(self) -> None:
        """Let it have told nothing for two minutes."""
        os.utime(progress_path(self.folder / "work", self.folder / "mis"), (time.time() - 120,) * 2)


@pytest.fixture
def going(tmp_path: Path) -> Going:
    work, out = tmp_path / "work", tmp_path / "mis"
    prints = dict.fromkeys(("compose", "render", "teach", "screen"), "0123456789abcdef")
    BuildState("tiny", str(out), "f", [prints]).save(work, out)
    ledger = Ledger(work / "ledger.sqlite")
    ledger.open("teach-0123")
    for number in range(3):
        ledger.pay(str(number), "teach-0123", Usage("teacher-7b", requests=1))
    ledger.trouble("teach-0123", "teacher-7b", "timed_out")
    monitor = Monitor(Silent(), work, out)
    monitor.begin_round(1)
    with monitor.watching(ledger):
        monitor.pulse([RENDER])
    return Going(tmp_path, monitor)


def test_a_running_build_is_shown_with_its_process_queues_and_idle_time(going: Going):
    done = going.status()
    assert done.exit_code == 0
    assert f"Round 1 running (process {os.getpid()}), making shards" in done.output
    (line,) = (line.split() for line in done.output.splitlines() if line.lstrip().startswith("render") and "%" in line)
    # items, of, per second, left, waiting, idle, rejected, failed
    assert line[1:] == ["10", "40", "0.00", "?", "3", "75%", "1", "0"]


def test_servers_are_shown_with_their_error_rate(going: Going):
    (line,) = (line.split() for line in going.status().output.splitlines() if "timed_out" in line)
    assert line == ["teach", "teacher-7b", "3", "25.0%", "1", "timed_out"]
    (server,) = json.loads(going.status("--json").output)["servers"]
    assert server["error_rate"] == 0.25


def test_json_is_all_that_is_printed(going: Going):
    told = json.loads(going.status("--json").output)
    assert (told["state"], told["round"], told["pid"]) == ("running", 1, os.getpid())
    assert told["stages"][0]["waiting"] == 3


def test_a_killed_build_is_silent(going: Going):
    going.kill()
    assert json.loads(going.status("--json").output)["state"] == "silent"
    assert f"process {os.getpid()} was probably killed" in going.status().output
    # Nobody waits for a dead one.
    assert going.status("--watch").exit_code == 0


def test_watching_ends_with_the_build(going: Going):
    def finish() -> None:
        time.sleep(0.3)
        with going.monitor:
            pass

    building = threading.Thread(target=finish)
    building.start()
    done = going.status("--watch")
    assert not building.is_alive()
    assert done.exit_code == 0
    assert "Round 1 finished" in done.output


def test_a_stopped_build_says_why(going: Going):
    with pytest.raises(OutputError), going.monitor:
        raise OutputError("no room")
    assert "stopped: no room" in going.status().output


def test_a_finished_build_is_complete(tmp_path: Path):
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work")
    going = Going(tmp_path, Monitor(Silent(), tmp_path, tmp_path))
    assert "is complete" in going.status("--watch").output
    assert json.loads(going.status("--json").output)["state"] == "finished"


def test_a_build_of_which_nothing_is_known_is_said_to_be_so(tmp_path: Path):
    done = Going(tmp_path, Monitor(Silent(), tmp_path, tmp_path)).status("--json")
    assert isinstance(done.exception, OutputError)
    assert "no build of" in str(done.exception)
