"""Two stages of one build ask the same server at the same time, as the assembly line has them do."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import pytest
from chat_server import Call, ChatServer, Reply, Script, fail, later, say

from mis_dataset.budget import Limits
from mis_dataset.chat import Chat, ChatAnswer, ChatSettings
from mis_dataset.errors import BudgetError
from mis_dataset.ledger import Ledger
from mis_dataset.records import Failed, Rejected


@dataclass(frozen=True, kw_only=True)
class Asker(ChatSettings):
    """Each item is a question."""

    model: str = "m"
    api_key_env: str = ""
    backoff_s: float = 0.001
    max_retries: int = 1
    concurrency: int = 4
    grace_s: float = 0.2

    def ask(self, questions: Sequence[str]) -> Iterator[ChatAnswer | Rejected | Failed]:
        return self.converse(self._ask, questions)

    async def _ask(self, chat: Chat, question: str) -> ChatAnswer | Rejected | Failed:
        return await chat.ask([{"role": "user", "content": question}])


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Ports come back: what one test's server took says nothing about another's.
    monkeypatch.setattr("mis_dataset.chat.limiter._limiters", {})


def questions(stage: str, count: int) -> list[str]:
    return [f"{stage} {number}" for number in range(count)]


def stage_of(call: Call) -> str:
    return call.texts[-1].partition(" ")[0]


class Busy:
    """Answers after a while, and remembers how many of each stage it worked on at a time."""

    def __init__(self, seconds: float) -> None:
        self.most = Counter[str]()
        self._seconds = seconds
        self._now = Counter[str]()
        self._lock = Lock()

    def __call__(self, call: Call) -> Reply:
        stage = stage_of(call)
        with self._lock:
            self._now[stage] += 1
            self.most[stage] = max(self.most[stage], self._now[stage])
        time.sleep(self._seconds)
        with self._lock:
            self._now[stage] -= 1
        return say("yes")


def test_the_larger_cap_holds_for_both_together_and_each_keeps_to_its_own():
    script = Busy(0.01)
    with ChatServer(script) as server, ThreadPoolExecutor(2) as pool:
        caps = {"teach": 5, "screen": 2}
        asking = {
            stage: pool.submit(lambda stage, cap: list(ask(server, stage, cap)), stage, cap)
            for stage, cap in caps.items()
        }
        assert {stage: len(done.result()) for stage, done in asking.items()} == {"teach": 30, "screen": 30}
    assert server.most_at_once <= 5
    assert script.most["screen"] <= 2


def ask(server: ChatServer, stage: str, cap: int) -> Iterator[ChatAnswer | Rejected | Failed]:
    return Asker(base_url=server.base_url, concurrency=cap).ask(questions(stage, 30))


def spend(server: ChatServer, path: Path, limit: int | None) -> list[object]:
    """Has two stages of thirty questions each ask under one limit; what came of each stage, and the costs."""

    def work(stage: str) -> object:
        with ledger.charging(f"{stage}-1"):
            try:
                return len(list(ask(server, stage, 4)))
            except BudgetError:
                return "stopped"

    ledger = Ledger(path, limits=Limits(max_requests=limit))
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(work, ("teach", "screen")))
    spent = sum(cost.requests for cost in ledger.costs())
    ledger.close()
    return [*outcomes, spent]


@pytest.mark.parametrize("limit", [5, 12])
def test_a_limit_of_requests_is_met_to_the_request_by_two_stages_at_once(tmp_path: Path, limit: int):
    # Of the eight rows at work four wait for their turn: what is not sent does not count, and is not given up for it.
    with ChatServer(lambda call: later(say("yes"), 0.02)) as server:
        assert spend(server, tmp_path / "ledger.sqlite", limit) == ["stopped", "stopped", limit]
        assert len(server.calls) == limit
        assert spend(server, tmp_path / "ledger.sqlite", None) == [30, 30, 60]
        assert set(Counter(call.texts[-1] for call in server.calls).values()) == {1}


def test_what_waits_for_a_server_that_asked_to_be_left_alone_does_not_count(tmp_path: Path):
    script: Script = lambda call: fail(429, retry_after="0.3") if call.number == 0 else later(say("yes"), 0.02)  # noqa: E731
    with ChatServer(script) as server:
        assert spend(server, tmp_path / "ledger.sqlite", 10)[2] == 10
        assert len(server.calls) == 11


def test_a_stage_that_is_closed_cuts_nothing_of_the_other_and_leaves_it_its_places():
    screening = Busy(0.02)

    def script(call: Call) -> Reply:
        if stage_of(call) == "screen":
            return screening(call)
        return later(say("yes"), 0 if call.texts[-1] == "teach 0" else 60)

    with ChatServer(script) as server, ThreadPoolExecutor(1) as pool:
        closed = ask(server, "teach", 2)
        next(closed)
        while len(server.calls) < 3:
            time.sleep(0.001)
        # Of three places, two are taken.
        other = pool.submit(lambda: list(ask(server, "screen", 3)))
        while len(server.calls) < 4:
            time.sleep(0.001)
        assert screening.most["screen"] == 1
        closed.close()
        assert [type(answer) for answer in other.result(timeout=20)] == [ChatAnswer] * 30
        assert screening.most["screen"] == 3
        assert Counter(map(stage_of, server.calls)) == {"teach": 3, "screen": 30}
