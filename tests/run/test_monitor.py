"""What a monitor writes down: while a build goes, when it stops, and when it is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from recipes import tiny

from mis_dataset.errors import MisError
from mis_dataset.ledger import Ledger, Usage
from mis_dataset.pipeline import build
from mis_dataset.run.monitor import Monitor, Progress, load_progress
from mis_dataset.run.post import PostState
from mis_dataset.run.progress import Silent
from mis_dataset.run.state import progress_path

STATE = PostState("render", 40, 8, 0.0, 0, 0, 0, 2, 1, busy_s=1.5, elapsed_s=2.0, is_complete=False)


@pytest.fixture
def monitor(tmp_path: Path) -> Monitor:
    return Monitor(Silent(), tmp_path, tmp_path / "mis")


def loaded(folder: Path) -> Progress:
    progress = load_progress(folder, folder / "mis")
    assert progress
    return progress


def test_a_running_build_tells_how_it_goes(tmp_path: Path, monitor: Monitor):
    monitor.begin_round(1)
    monitor.pulse([STATE])
    progress = loaded(tmp_path)
    told = progress.told
    assert (progress.state, told["pid"], told["round"], told["why"]) == ("running", os.getpid(), 1, "")
    assert progress.age_s < 30
    (stage,) = told["stages"]
    wanted = {"stage": "render", "total": 40, "found": 8, "done": 8.0, "waiting": 2, "width": 1, "idle": 0.25}
    assert {key: stage[key] for key in wanted} == wanted
    # Nothing was made yet: no rate, and nobody knows how long it takes.
    assert (stage["per_second"], stage["eta_s"]) == (0.0, None)


def test_rates_and_the_time_to_go_come_from_what_was_made_of_late(tmp_path: Path, monitor: Monitor):
    with monitor:
        begun = time.monotonic()
        monitor.pulse([STATE])
        time.sleep(0.2)
        monitor.pulse([replace(STATE, made=16.0)])
    most = 16 / 0.2
    (stage,) = loaded(tmp_path).told["stages"]
    assert 16 / (time.monotonic() - begun) <= stage["per_second"] <= most
    # What was found is done, and says nothing of the rate.
    assert stage["eta_s"] == pytest.approx((40 - 8 - 16) / stage["per_second"], rel=0.1)


def test_a_second_round_has_a_rate_of_its_own(tmp_path: Path, monitor: Monitor):
    with monitor:
        monitor.begin_round(1)
        monitor.pulse([replace(STATE, made=1000.0)])
        monitor.begin_round(2)
        time.sleep(1.0)  # what is written down once a second
        monitor.pulse([STATE])
        time.sleep(0.1)
        monitor.pulse([replace(STATE, made=16.0)])
    told = loaded(tmp_path).told
    assert told["round"] == 2
    assert told["stages"][0]["per_second"] > 0


def test_a_complete_stage_has_the_rate_of_all_its_time(tmp_path: Path, monitor: Monitor):
    with monitor:
        monitor.pulse([replace(STATE, made=32.0, elapsed_s=4.0, is_complete=True)])
    (stage,) = loaded(tmp_path).told["stages"]
    assert (stage["per_second"], stage["eta_s"]) == (8.0, 0.0)


def test_costs_are_told(tmp_path: Path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with Monitor(Silent(), tmp_path, tmp_path / "mis") as monitor:
        with monitor.watching(ledger), ledger.charging("teach-1") as account:
            account.keep("key", {}, Usage("m", requests=1, prompt_tokens=5))
        # What comes behind the stages has no ledger, and forgets nothing.
        monitor.turn_to("assembling")
        told = loaded(tmp_path).told
    assert (told["state"], told["doing"]) == ("running", "assembling")
    assert loaded(tmp_path).told["costs"] == told["costs"]
    (cost,) = told["costs"]
    assert (cost["stage"], cost["model"], cost["requests"], cost["prompt_tokens"]) == ("teach", "m", 1, 5)


@pytest.mark.parametrize(
    ("error", "why"), [(MisError("the key is gone"), "the key is gone"), (KeyboardInterrupt(), "")], ids=["error", "^C"]
)
def test_a_stopped_build_says_so_and_why(tmp_path: Path, monitor: Monitor, error: BaseException, why: str):
    monitor.pulse([STATE])
    with pytest.raises(type(error)), monitor:
        raise error
    progress = loaded(tmp_path)
    assert (progress.state, progress.told["why"]) == ("stopped", why)


def test_what_ended_a_build_is_not_hidden_by_trouble_with_writing_it_down(tmp_path: Path, monitor: Monitor):
    (tmp_path / "progress").touch()
    with pytest.raises(MisError, match="the key is gone"), monitor:
        raise MisError("the key is gone")


def test_a_running_build_that_tells_nothing_for_long_is_silent(tmp_path: Path, monitor: Monitor):
    monitor.pulse([STATE])
    path = progress_path(tmp_path, tmp_path / "mis")
    os.utime(path, (time.time() - 120,) * 2)
    progress = loaded(tmp_path)
    assert progress.state == "silent"
    assert progress.age_s == pytest.approx(120, abs=10)
    # One that is done has nothing more to tell.
    with monitor:
        pass
    os.utime(path, (time.time() - 120,) * 2)
    assert loaded(tmp_path).state == "finished"


ENDED = """
import sys
from pathlib import Path
from mis_dataset.run.monitor import Monitor
from mis_dataset.run.progress import Silent
Monitor(Silent(), Path(sys.argv[1]), Path(sys.argv[1], "mis")).turn_to("settling")
"""


def test_a_build_whose_process_is_gone_is_silent_at_once(tmp_path: Path):
    # Without a word, as after `kill -9`.
    subprocess.run([sys.executable, "-c", ENDED, str(tmp_path)], check=True)
    progress = loaded(tmp_path)
    assert (progress.told["state"], progress.state) == ("running", "silent")


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"host": None}], ids=["another", "not said"])
def test_the_process_of_another_machine_may_be_at_work(tmp_path: Path, change: dict[str, object]):
    subprocess.run([sys.executable, "-c", ENDED, str(tmp_path)], check=True)
    path = progress_path(tmp_path, tmp_path / "mis")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert loaded(tmp_path).state == "running"


def test_a_build_of_somebody_else_is_alive(tmp_path: Path, monitor: Monitor, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: int) -> None:
        raise PermissionError

    monitor.pulse([STATE])
    monkeypatch.setattr(os, "kill", refuse)
    assert loaded(tmp_path).state == "running"


def test_a_build_that_has_nothing_to_tell_is_alive(tmp_path: Path, monitor: Monitor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mis_dataset.run.monitor._HEARTBEAT_S", 0.05)
    path = progress_path(tmp_path, tmp_path / "mis")
    with monitor:
        monitor.turn_to("settling")
        os.utime(path, (time.time() - 120,) * 2)
        until = time.monotonic() + 10
        while loaded(tmp_path).state == "silent":
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_clock_that_was_set_back_makes_nobody_silent(tmp_path: Path, monitor: Monitor):
    monitor.pulse([STATE])
    os.utime(progress_path(tmp_path, tmp_path / "mis"), (time.time() + 7200,) * 2)
    progress = loaded(tmp_path)
    assert (progress.state, progress.age_s) == ("running", 0.0)


@pytest.mark.parametrize("text", ["", "[]", '{"state"', "{}", "null"])
def test_what_cannot_be_read_tells_nothing(tmp_path: Path, text: str):
    path = progress_path(tmp_path, tmp_path / "mis")
    path.parent.mkdir()
    path.write_text(text)
    assert load_progress(tmp_path, tmp_path / "mis") is None


@dataclass
class Looking(Silent):
    """Reads what is written down whenever it is told how the build goes."""

    folder: Path
    states: list[str] = field(default_factory=list)

    def pulse(self, states: object) -> None:
        progress = load_progress(self.folder / "work", self.folder / "mis")
        self.states.append(progress.state if progress else "")


def test_a_whole_build_is_written_down_from_its_beginning_to_its_end(tmp_path: Path):
    looking = Looking(tmp_path)
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", reporter=looking)
    assert set(looking.states) == {"running"}
    progress = load_progress(tmp_path / "work", tmp_path / "mis")
    assert progress
    assert progress.state == "finished"
    assert [stage["stage"] for stage in progress.told["stages"]] == ["compose", "render", "teach", "screen"]
    assert all(stage["done"] == pytest.approx(stage["total"]) for stage in progress.told["stages"])
    assert all(stage["is_complete"] for stage in progress.told["stages"])
