"""Work that is cut short: nothing new begins, and what is paid for comes in and is kept."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chat_server import Call, ChatServer, Reply, Script, fail, later, say

from mis_dataset.chat import Chat, ChatAnswer, ChatSettings
from mis_dataset.errors import ServerAuthError
from mis_dataset.ledger import keeping_ledger
from mis_dataset.records import Failed, Rejected
from mis_dataset.stopping import stoppable


@dataclass(frozen=True, kw_only=True)
class Asker(ChatSettings):
    """Each item is a question; work may go wrong once it is answered."""

    model: str = "m"
    api_key_env: str = ""
    backoff_s: float = 0.001
    max_retries: int = 1
    concurrency: int = 4
    grace_s: float = 10.0
    chats: list[Chat] = field(default_factory=list, repr=False, compare=False)
    """Whom it asked."""

    def ask(self, questions: Sequence[str]) -> Iterator[ChatAnswer | Rejected | Failed]:
        return self.converse(self._ask, questions)

    async def _ask(self, chat: Chat, question: str) -> ChatAnswer | Rejected | Failed:
        self.chats.append(chat)
        answer = await chat.ask([{"role": "user", "content": question}])
        if question == "mistake":
            raise ZeroDivisionError
        return await chat.ask([{"role": "user", "content": "more"}]) if question.startswith("two") else answer


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Ports come back: what one test's server took says nothing about another's.
    monkeypatch.setattr("mis_dataset.chat.limiter._limiters", {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def together(count: int, script: Script) -> Script:
    """Answers nobody until so many are there."""
    gate = threading.Barrier(count)

    def answer(call: Call) -> Reply:
        gate.wait(20)
        return script(call)

    return answer


class Held:
    """Answers one question at once, and the others when work is being stopped, or was before."""

    def __init__(self, quick: str, reply: Reply | None = None) -> None:
        self.chats: list[Chat] = []
        self._quick = quick
        self._reply = reply or say("yes")

    def __call__(self, call: Call) -> Reply:
        if call.texts[-1] == self._quick:
            return say("yes")
        self.wait()
        return self._reply

    def wait(self) -> None:
        deadline = time.monotonic() + 20
        while not any(chat.is_stopping for chat in self.chats) and time.monotonic() < deadline:
            time.sleep(0.001)


def asked(server: ChatServer) -> list[str]:
    return sorted(call.texts[-1] for call in server.calls)


def close_after_first(server: ChatServer, questions: Sequence[str], **settings: object) -> float:
    """How long it takes to close after the first result, with four more in flight."""
    results = Asker(base_url=server.base_url, **settings).ask(questions)
    next(results)
    while len(server.calls) < 5:
        time.sleep(0.001)
    begun = time.monotonic()
    results.close()
    return time.monotonic() - begun


QUESTIONS = ["first", *(f"number {number}" for number in range(40))]


def test_what_is_in_flight_when_work_is_closed_is_kept_and_not_asked_again(path: Path):
    with ChatServer(held := Held("first")) as server:
        with keeping_ledger(path):
            close_after_first(server, QUESTIONS, chats=held.chats)
        cut = asked(server)
        # One answered, and four in flight: nothing began while these came in.
        assert len(cut) == 5
        with keeping_ledger(path) as ledger:
            assert len(list(Asker(base_url=server.base_url).ask(QUESTIONS))) == 41
            (cost,) = ledger.costs()
        assert asked(server) == sorted(QUESTIONS)
        assert cost.requests == 41


def test_what_does_not_come_in_within_the_grace_is_given_up(path: Path):
    script = lambda call: later(say("yes"), 0 if call.texts[-1] == "first" else 60)  # noqa: E731 - a script
    with ChatServer(script) as server, keeping_ledger(path):
        assert close_after_first(server, QUESTIONS, grace_s=0.2) < 30


def test_rows_in_flight_ask_nothing_further_once_work_is_closed(path: Path):
    questions = ["first", *(f"two {number}" for number in range(8))]
    with ChatServer(held := Held("first")) as server, keeping_ledger(path):
        close_after_first(server, questions, chats=held.chats)
        assert "more" not in asked(server)
        assert len(server.calls) == 5


def test_a_request_that_comes_to_nothing_is_not_tried_again_once_work_is_closed(path: Path):
    with ChatServer(held := Held("first", fail(503))) as server, keeping_ledger(path):
        # Its pause would take longer than the grace.
        assert close_after_first(server, QUESTIONS, chats=held.chats, backoff_s=60.0, grace_s=60.0) < 30
        assert len(server.calls) == 5


@pytest.mark.parametrize("last", ["mistake", "locked"])
def test_an_error_of_one_row_costs_no_answer_of_another(path: Path, last: str):
    held = Held("mistake")
    script = lambda call: fail(401) if call.texts[-1] == "locked" else held(call)  # noqa: E731 - a script
    questions = ["a", "b", "c", last, "never"]
    with ChatServer(together(4, script)) as server:
        with keeping_ledger(path), pytest.raises((ZeroDivisionError, ServerAuthError)):
            list(Asker(base_url=server.base_url, chats=held.chats).ask(questions))
        assert asked(server) == sorted(questions[:4])
        with keeping_ledger(path):
            list(Asker(base_url=server.base_url).ask(["a", "b", "c"]))
        assert len(server.calls) == 4


def test_an_answer_that_comes_after_the_ledger_is_closed_is_kept(path: Path):
    # Ctrl-C while a row is stored: the iterator is closed only when nobody knows it any more.
    with ChatServer(held := Held("first")) as server:
        with keeping_ledger(path):
            results = Asker(base_url=server.base_url, chats=held.chats).ask(QUESTIONS)
            next(results)
            while len(server.calls) < 5:
                time.sleep(0.001)
        results.close()
        with keeping_ledger(path):
            list(Asker(base_url=server.base_url).ask(asked(server)))
        assert len(server.calls) == 5


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """A shell starts what it runs in the background deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_keeps_what_is_in_flight(path: Path):
    interrupted, held = threading.Event(), Held("")

    def script(call: Call) -> Reply:
        if len(server.calls) >= 4 and not interrupted.is_set():
            interrupted.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return held(call)

    with ChatServer(script) as server:
        with keeping_ledger(path), pytest.raises(KeyboardInterrupt):
            list(Asker(base_url=server.base_url, chats=held.chats).ask(QUESTIONS))
        assert len(server.calls) == 4
        with keeping_ledger(path):
            list(Asker(base_url=server.base_url).ask(asked(server)))
        assert len(server.calls) == 4


class ToldError(Exception):
    """Somebody told the work to stop."""


@dataclass
class Word:
    """What work asks whether it is to stop."""

    told: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        if self.told.is_set():
            raise ToldError


def test_work_that_waits_for_its_first_row_hears_that_it_is_to_stop(path: Path):
    # All that comes in meanwhile waits for that row, so nobody else would stop it.
    word, held, quick = Word(), Held(""), QUESTIONS[1:5]
    all_in_flight = threading.Barrier(4, word.told.set)

    def script(call: Call) -> Reply:
        if call.texts[-1] in quick:
            return say("yes")
        all_in_flight.wait(20)
        return held(call)

    with ChatServer(script) as server:
        with keeping_ledger(path), stoppable(word.check), pytest.raises(ToldError):
            list(Asker(base_url=server.base_url, chats=held.chats).ask(QUESTIONS[:12]))
        # What was in flight was waited for, is kept, and was the last.
        assert asked(server) == sorted(QUESTIONS[:8])
        with keeping_ledger(path):
            list(Asker(base_url=server.base_url).ask(QUESTIONS[:8]))
        assert len(server.calls) == 8


def test_work_that_hears_that_it_is_to_stop_does_not_wait_longer_than_the_grace(path: Path):
    word = Word()

    def script(call: Call) -> Reply:
        word.told.set()
        return later(say("yes"), 30)

    with ChatServer(script) as server, keeping_ledger(path), stoppable(word.check):
        begun = time.monotonic()
        with pytest.raises(ToldError):
            list(Asker(base_url=server.base_url, grace_s=0.2).ask(QUESTIONS[:4]))
        assert time.monotonic() - begun < 20


def test_work_that_holds_rows_back_hears_that_it_is_to_stop(path: Path):
    # A row that failed is tried again at the end; until then no other reaches the caller, who would stop between two.
    word = Word()

    def script(call: Call) -> Reply:
        if call.texts[-1] == "first":
            return fail(500)
        if call.number == 12:
            word.told.set()
        return later(say("yes"), 0.02)

    questions = ["first", *(f"number {number}" for number in range(400))]
    with ChatServer(script) as server, keeping_ledger(path), stoppable(word.check):
        with pytest.raises(ToldError):
            list(Asker(base_url=server.base_url).ask(questions))
        assert len(server.calls) < 100
