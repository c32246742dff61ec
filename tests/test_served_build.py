"""A whole build with a teacher behind HTTP: nothing lost, nothing paid for twice."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from chat_server import Call, ChatServer, Reply, fail, say
from recipes import lasting, tiny
from served_teacher import served, teacher_says

from mis_dataset.errors import ServerUnreachableError
from mis_dataset.pipeline import build
from mis_dataset.run.progress import Silent
from mis_dataset.seeds import stable_digest


def test_a_server_that_goes_away_costs_nothing_twice(tmp_path: Path):
    healthy = 7

    def script(call: Call) -> Reply:
        return teacher_says(call) if call.number < healthy or recovered else fail(503)

    recovered = False
    with ChatServer(script) as server:
        recipe = tiny(tmp_path, served(server))
        with pytest.raises(ServerUnreachableError, match="finished work is kept"):
            build(recipe, tmp_path / "mis", tmp_path / "work")
        recovered = True
        build(recipe, tmp_path / "mis", tmp_path / "work")
        answered = [json.dumps(call.body) for call in server.calls if call.number < healthy]
        later = [json.dumps(call.body) for call in server.calls if call.number >= healthy]
        assert not set(answered) & set(later)
        # The same from an uninterrupted build, wherever it works.
        build(recipe, tmp_path / "again", tmp_path / "other_work")
    assert lasting(tmp_path / "again") == lasting(tmp_path / "mis")


def is_unlucky(call: Call) -> bool:
    """Whether a request is one of a few that the server stumbles over, however often it comes."""
    return int(stable_digest(json.dumps(call.body, sort_keys=True))[:4], 16) % 5 == 0


def test_rows_that_failed_are_tried_again_and_only_those(tmp_path: Path):
    def script(call: Call) -> Reply:
        return fail(503) if is_unlucky(call) and not recovered else teacher_says(call)

    recovered = False
    with ChatServer(script) as server:
        recipe = tiny(tmp_path, served(server))
        first = build(recipe, tmp_path / "mis", tmp_path / "work", to="teach")
        failed = sum(step.count for step in first.funnel if step.outcome == "failed")
        assert failed > 2
        asked, recovered = len(server.calls), True
        second = build(recipe, tmp_path / "mis", tmp_path / "work", to="teach")
        assert [step.outcome for step in second.funnel if step.stage == "teach"] == ["accepted"]
        assert len(server.calls) == asked + failed


@dataclass
class Hearing(Silent):
    """Knows whether it was said that failed items are tried again."""

    has_heard: bool = False

    def note(self, message: str) -> None:
        self.has_heard |= "items failed" in message


def test_trouble_that_passes_while_the_build_goes_on_costs_no_row(tmp_path: Path):
    hearing = Hearing()

    def script(call: Call) -> Reply:
        return fail(503) if is_unlucky(call) and not hearing.has_heard else teacher_says(call)

    with ChatServer(script) as server:
        recipe = tiny(tmp_path, served(server))
        report = build(recipe, tmp_path / "mis", tmp_path / "work", reporter=hearing)
        assert hearing.has_heard
        assert not [step for step in report.funnel if step.outcome == "failed"]
        # The same as from a server without any trouble.
        build(recipe, tmp_path / "again", tmp_path / "other_work")
    assert lasting(tmp_path / "again") == lasting(tmp_path / "mis")


def test_a_failure_that_will_not_pass_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A judge that refuses has judged nothing, and will refuse again: the labels are not written anew for it.
    text = """
from dataclasses import dataclass
from mis_dataset.records import Verdict

@dataclass(frozen=True)
class Shy:
    def screen(self, rows):
        return (Verdict("shy", "cannot_judge", "judge_refused", "no") for row in rows)
"""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shy_judge.py").write_text(text)
    with ChatServer(teacher_says) as server:
        recipe = tiny(tmp_path, served(server) + '\n[[critic]]\nbackend = "shy_judge:Shy"\n')
        build(recipe, tmp_path / "mis", tmp_path / "work", to="teach")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("teach-*/shard-*")}
        report = build(recipe, tmp_path / "mis", tmp_path / "work", to="teach")
    assert {step.reason for step in report.funnel if step.stage == "teach"} == {"judge_refused"}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_changed_shard_size_asks_nothing_again(tmp_path: Path):
    with ChatServer(teacher_says) as server:
        text = served(server)
        build(tiny(tmp_path, text), tmp_path / "mis", tmp_path / "work", to="teach")
        asked = len(server.calls)
        for shard in (tmp_path / "work").glob("*/shard-*.parquet"):
            shard.unlink()
        for plan in (tmp_path / "work").glob("*/plan.json"):
            plan.unlink()
        build(tiny(tmp_path, text.replace("shard_size = 3", "shard_size = 9")), tmp_path / "mis", tmp_path / "work")
        assert len(server.calls) == asked


def test_rejected_labels_are_counted_by_reason(tmp_path: Path):
    with ChatServer(lambda call: say("no JSON here") if call.number % 2 else say(None, refusal="no")) as server:
        report = build(tiny(tmp_path, served(server)), tmp_path / "mis", tmp_path / "work", to="teach")
    counts = {step.reason: step.count for step in report.funnel if step.stage == "teach"}
    assert set(counts) <= {"refused", "malformed"}
    assert sum(counts.values()) > 10


def test_a_lost_server_does_not_stop_the_stages_before_it(tmp_path: Path):
    with ChatServer(lambda _: fail(503)) as server:
        recipe = tiny(tmp_path, served(server))
        with pytest.raises(ServerUnreachableError, match="finished work is kept"):
            build(recipe, tmp_path / "mis", tmp_path / "work")
    stages = ("compose", "render", "teach")
    shards = {stage: len(list((tmp_path / "work").glob(f"{stage}-*/shard-*"))) for stage in stages}
    # More than the belt holds: images went on being drawn, though nobody took them.
    assert shards["compose"] > 4
    assert shards["render"] == shards["compose"]
    assert shards["teach"] == 0
