"""The client layer, with the real openai client against a real server."""

import asyncio
import gc
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest
from chat_server import MODEL, ChatServer, Reply, Script, decode_image, drop, fail, later, say
from PIL import Image
from simulated_server import BASE_URL, SimulatedServer, simulated

from mis_dataset.chat import (
    Chat,
    ChatAnswer,
    ChatSettings,
    VisionSettings,
    fill_prompt,
    jpeg_part,
    text_part,
    valid_unicode,
)
from mis_dataset.chat.client import retry_after
from mis_dataset.chat.limiter import limiter_of
from mis_dataset.errors import (
    BackendError,
    ServerAuthError,
    ServerError,
    ServerModelError,
    ServerUnreachableError,
    StorageError,
)
from mis_dataset.ledger import keeping_ledger
from mis_dataset.options import identity
from mis_dataset.records import Failed, Rejected
from mis_dataset.seeds import stable_seed

KEY = "sk-very-secret"
PLAIN_SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
SCHEMA = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "An answer", **PLAIN_SCHEMA}


@dataclass(frozen=True, kw_only=True)
class Asker(ChatSettings):
    """The smallest backend: each item is a question, each result what came of it."""

    model: str = "test-vlm"
    api_key_env: str = "CHAT_TEST_KEY"
    backoff_s: float = 0.001
    max_retries: int = 2
    timeout_s: float = 10.0
    grace_s: float = 0.2

    def ask(self, questions: Sequence[str]) -> Iterator[ChatAnswer | Rejected | Failed]:
        return self.converse(self._ask, questions)

    async def _ask(self, chat: Chat, question: str) -> ChatAnswer | Rejected | Failed:
        return await chat.ask([{"role": "user", "content": question}], schema=SCHEMA, seed=7)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("CHAT_TEST_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Ports come back: what one test's server took says nothing about another's.
    monkeypatch.setattr("mis_dataset.chat.limiter._limiters", {})


def ask(script: Script, questions: Sequence[str] = ("hello",), **settings: object):
    """What came of the questions, and the server that was asked."""
    with ChatServer(script) as server:
        return list(Asker(base_url=server.base_url, **settings).ask(questions)), server


def echo(call) -> Reply:
    return say(call.texts[-1])


def poisoned(call) -> Reply:
    """Answers everything but questions that begin with ``bad``."""
    return fail(500) if call.texts[-1].startswith("bad") else echo(call)


def closes_all(server: ChatServer) -> bool:
    """Whether the server sees every connection closed within two seconds."""
    deadline = time.monotonic() + 2
    while server.open_connections and time.monotonic() < deadline:
        time.sleep(0.005)
    return server.open_connections == 0


def first_then(first: Reply, script: Script = echo) -> Script:
    return lambda call: first if call.number == 0 else script(call)


# What an answer holds


def test_an_answer_names_the_model_that_gave_it():
    [answer], _ = ask(echo)
    assert answer == ChatAnswer("hello", MODEL, "fp_test", 100, 20)


def test_an_answer_without_usage_or_fingerprint_is_fine():
    reply = say("hello", fingerprint=None)
    del reply.body["usage"]
    [answer], _ = ask(lambda call: reply)
    assert answer == ChatAnswer("hello", MODEL, "", 0, 0)


def test_an_empty_answer_is_an_empty_text():
    [answer], _ = ask(lambda call: say(None))
    assert isinstance(answer, ChatAnswer)
    assert answer.text == ""


def test_a_lone_surrogate_in_an_answer_can_be_stored():
    [answer], _ = ask(lambda call: say("broken \ud83d smile"))
    assert answer.text.encode() == b"broken ? smile"


@pytest.mark.parametrize("message", [{}, {"content": [{"type": "text", "text": "parts"}]}, {"content": 5}])
def test_content_that_is_no_text_is_an_empty_answer(message):
    [answer], _ = ask(lambda call: Reply({"choices": [{"message": message}]}))
    assert answer == ChatAnswer("", "test-vlm", "", 0, 0)


# What is sent


def test_settings_reach_the_server():
    _, server = ask(echo, temperature=0.5, max_tokens=77)
    body = server.calls[0].body
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("test-vlm", 0.5, 77, 7)


def test_no_temperature_is_the_servers_own():
    _, server = ask(echo)
    assert "temperature" not in server.calls[0].body


def test_the_schema_is_sent_as_strict_structured_output_without_its_title_and_dialect():
    _, server = ask(echo)
    sent = server.calls[0].body["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": PLAIN_SCHEMA}}


def test_the_key_comes_from_the_named_variable():
    _, server = ask(echo)
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_server_without_keys_gets_a_dummy(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-somebody-else")
    _, server = ask(echo, api_key_env="")
    assert server.calls[0].headers["authorization"] == "Bearer none"


def test_a_missing_key_names_the_variable_and_sends_nothing(monkeypatch):
    monkeypatch.delenv("CHAT_TEST_KEY")
    with ChatServer(echo) as server:
        with pytest.raises(ServerAuthError, match="CHAT_TEST_KEY is not set"):
            list(Asker(base_url=server.base_url).ask(["hello"]))
        assert server.calls == []


# Many at a time


def test_results_keep_the_order_of_the_items():
    questions = [str(number) for number in range(12)]
    results, _ = ask(lambda call: later(echo(call), 0.05 if int(call.texts[-1]) % 3 == 0 else 0), questions)
    assert [answer.text for answer in results] == questions


def test_no_more_requests_are_in_flight_than_allowed():
    _, server = ask(lambda call: later(echo(call), 0.02), list("abcdefghijkl"), concurrency=3)
    assert server.most_at_once == 3


def test_connections_are_kept_and_as_many_as_requests_in_flight():
    _, server = ask(lambda call: later(echo(call), 0.01), list("abcdefghijkl"), concurrency=3)
    assert server.connections <= 3


def test_early_results_come_before_late_ones_are_done():
    with ChatServer(lambda call: later(echo(call), 30 if call.texts[-1] == "slow" else 0)) as server:
        results = Asker(base_url=server.base_url).ask(["quick", "slow"])
        assert next(results).text == "quick"
        results.close()


def test_closing_the_iterator_cancels_what_is_in_flight():
    with ChatServer(lambda call: later(echo(call), 0 if call.texts[-1] == "0" else 30)) as server:
        results = Asker(base_url=server.base_url, concurrency=2).ask([str(number) for number in range(20)])
        next(results)
        started = time.monotonic()
        results.close()
        assert time.monotonic() - started < 5
        assert len(server.calls) <= 4


def test_it_works_inside_a_running_loop():
    async def cell() -> int:
        results, _ = ask(echo)
        return len(results)

    assert asyncio.run(cell()) == 1


def test_a_mistake_in_the_work_reaches_the_caller_as_it_is():
    @dataclass(frozen=True, kw_only=True)
    class Clumsy(Asker):
        async def _ask(self, chat: Chat, question: str) -> ChatAnswer:
            raise ZeroDivisionError(question)

    with pytest.raises(ZeroDivisionError, match="hello"):
        list(Clumsy(base_url="http://127.0.0.1:9/v1").ask(["hello"]))


def test_no_connection_stays_open_after_the_last_result():
    # Many connections take a while to close: the caller, who has all results by then, must not cut that short.
    with ChatServer(lambda call: later(echo(call), 0.1)) as server:
        list(Asker(base_url=server.base_url, concurrency=20).ask([str(number) for number in range(20)]))
        assert closes_all(server)


def test_no_connection_stays_open_after_the_iterator_is_closed():
    with ChatServer(lambda call: later(echo(call), 0 if call.texts[-1] == "0" else 30)) as server:
        results = Asker(base_url=server.base_url, concurrency=10).ask([str(number) for number in range(20)])
        next(results)
        results.close()
        # What the server has yet to answer is hung up on, too; it notices when it writes.
        server.closing.set()
        assert closes_all(server)


def test_nothing_stays_open_after_an_error_in_mid_flight():
    # Unclosed sockets and loops warn when they are collected; warnings are errors here.
    with pytest.raises(ServerAuthError):
        ask(lambda call: fail(401) if call.number == 5 else later(echo(call), 0.01), list("abcdefghijkl"))
    gc.collect()


# Answers that are no answers


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (say(None, refusal="I can't help with that."), "refused"),
        (say('{"answer": "I was just', finish="length"), "truncated"),
        (say("", finish="content_filter"), "content_filtered"),
        (fail(400, "flagged", code="content_filter"), "content_filtered"),
        (fail(400, "image too large"), "bad_request"),
        (fail(413, "too much"), "bad_request"),
    ],
)
def test_an_unusable_answer_is_rejected_without_another_try(reply, reason):
    [result], server = ask(lambda call: reply, max_tokens=5)
    assert isinstance(result, Rejected)
    assert result.reason == reason
    # A bad request is sent once more without the schema, in case that was the fault.
    assert len(server.calls) == (2 if reason == "bad_request" else 1)


def test_a_bad_request_says_what_the_server_said():
    [result], _ = ask(lambda call: fail(400, "image 2 has more than 2048 pixels"))
    assert "image 2 has more than 2048 pixels" in result.detail


# Parameters that a server does not take


def without_schemas(call) -> Reply:
    return fail(400, "unknown field") if call.wants_schema else echo(call)


def test_a_server_that_turns_the_schema_down_is_asked_without():
    results, server = ask(without_schemas, ["a", "b", "c"], concurrency=1)
    assert [answer.text for answer in results] == ["a", "b", "c"]
    assert [call.wants_schema for call in server.calls] == [True, False, False, False]


def test_what_was_turned_down_is_remembered_over_calls_and_said_once(caplog):
    caplog.set_level(logging.WARNING)
    with ChatServer(without_schemas) as server:
        asker = Asker(base_url=server.base_url)
        list(asker.ask(["a", "b", "c"]))
        list(asker.ask(["d"]))
        assert [call.wants_schema for call in server.calls if call.texts == ["d"]] == [False]
    assert [record.getMessage().count("turned down response_format") for record in caplog.records] == [1]


def test_one_bad_image_does_not_cost_the_others_their_schema():
    def particular(call) -> Reply:
        return fail(400, "cannot decode image") if call.texts[-1] == "bad" else echo(call)

    results, server = ask(particular, ["bad", "good"], concurrency=1)
    assert isinstance(results[0], Rejected)
    assert server.calls[-1].wants_schema


@pytest.mark.parametrize(
    ("name", "instead"), [("max_tokens", {"max_completion_tokens": 77}), ("seed", {}), ("response_format", {})]
)
def test_a_parameter_that_the_server_names_is_replaced_and_the_others_stay(name, instead):
    def picky(call) -> Reply:
        return fail(400, f"Unsupported parameter: '{name}'", param=name) if name in call.body else echo(call)

    [answer], server = ask(picky, max_tokens=77)
    before, after = server.calls[0].body, server.calls[-1].body
    assert answer.text == "hello"
    assert after == {key: value for key, value in before.items() if key != name} | instead


def test_what_a_server_takes_is_no_part_of_a_backends_identity():
    asker = Asker(base_url="http://127.0.0.1:9/v1")
    before = identity(asker)
    asker.turned_down.add("seed")
    assert identity(asker) == before


# Errors that end everything


def test_a_wrong_key_stops_at_once_and_names_the_variable():
    # The first row is slow: the refusal of the second must not wait for it.
    def strict(call) -> Reply:
        return later(echo(call), 30) if call.texts[-1] == "slow" else fail(401)

    started = time.monotonic()
    with pytest.raises(ServerAuthError, match="CHAT_TEST_KEY"):
        ask(strict, ["slow", "a", "b"], concurrency=2)
    assert time.monotonic() - started < 5


def test_a_forbidden_model_is_a_matter_of_the_key():
    with pytest.raises(ServerAuthError, match=r"403.*may use 'test-vlm'"):
        ask(lambda call: fail(403))


def test_a_server_that_wants_a_key_after_all_says_how_to_name_one():
    with pytest.raises(ServerAuthError, match="api_key_env"):
        ask(lambda call: fail(401), api_key_env="")


@pytest.mark.parametrize("address", ["http://localhost:port/v1", "http://[::1/v1", "http://[::g]/v1"])
def test_an_address_that_is_none_is_named(address):
    with pytest.raises(BackendError, match=re.escape(repr(address))):
        list(Asker(base_url=address).ask(["hello"]))


def test_an_unknown_model_is_named_with_its_server():
    with pytest.raises(ServerModelError, match=r"127\.0\.0\.1.*'nobody'.*no such model"):
        ask(lambda call: fail(404, "no such model"), model="nobody")


def test_a_base_url_without_its_path_is_a_matter_of_the_address():
    with ChatServer(echo) as server, pytest.raises(ServerModelError, match="base_url"):
        list(Asker(base_url=server.base_url.removesuffix("/v1")).ask(["hello"]))


def test_a_refusal_that_no_retry_can_mend_ends_the_work():
    with pytest.raises(ServerError, match="402: balance too low"):
        ask(lambda call: fail(402, "balance too low"))


def test_an_echoed_key_is_hidden_in_errors():
    with pytest.raises(ServerAuthError) as caught:
        ask(lambda call: fail(401, f"wrong: {call.headers['authorization']}"))
    assert KEY not in str(caught.value)
    assert "***" in str(caught.value)


@pytest.mark.parametrize("reply", [say(f"the key is {KEY}"), say(None, refusal=KEY), fail(400, KEY)])
def test_an_echoed_key_is_hidden_in_results(reply):
    results, _ = ask(lambda call: reply)
    assert KEY not in str(results)
    assert "***" in str(results)


def test_no_part_of_an_echoed_key_is_left_where_a_message_is_cut():
    results, _ = ask(lambda call: fail(400, "x" * 290 + KEY))
    assert KEY[:5] not in str(results)


# Trying again


@pytest.mark.parametrize(
    "trouble",
    [
        fail(429),
        fail(500),
        fail(503),
        fail(408),
        drop(),
        Reply(b"<html>gateway</html>", headers={"content-type": "text/html"}),
        Reply(b'{"choices": [{'),
        Reply({"error": {"message": "upstream is busy"}}),
        Reply({"choices": []}),
        Reply({"choices": ["what?"]}),
        Reply(b"\xff\xfe{"),
    ],
)
def test_passing_trouble_is_tried_again(trouble):
    [answer], server = ask(first_then(trouble))
    assert answer.text == "hello"
    assert len(server.calls) == 2


def test_a_slow_answer_is_given_up_and_tried_again():
    [answer], server = ask(lambda call: later(echo(call), 30 if call.number == 0 else 0), timeout_s=0.2)
    assert answer.text == "hello"
    assert len(server.calls) == 2


def test_an_answer_that_drips_in_is_slow_too():
    trickle = replace(say("hello"), drip_s=0.02)
    started = time.monotonic()
    [answer], server = ask(lambda call: trickle if call.number == 0 else echo(call), timeout_s=0.2)
    assert answer.text == "hello"
    assert len(server.calls) == 2
    assert time.monotonic() - started < 3


def test_retries_are_bounded():
    with ChatServer(lambda call: fail(500)) as server:
        with pytest.raises(ServerUnreachableError):
            list(Asker(base_url=server.base_url, max_retries=3).ask(["hello"]))
        assert [call.texts[-1] for call in server.calls] == ["hello"] * 4 + ["Hello."] * 4


def test_retry_after_is_honoured():
    started = time.monotonic()
    ask(first_then(fail(429, retry_after="1")))
    assert time.monotonic() - started >= 1


def test_pauses_grow():
    arrivals: list[float] = []

    def stubborn(call) -> Reply:
        arrivals.append(time.monotonic())
        return fail(503) if call.number < 3 else echo(call)

    ask(stubborn, max_retries=3, backoff_s=0.1)
    pauses = [after - before for before, after in pairwise(arrivals)]
    # Half to all of 0.1, 0.2 and 0.4 seconds, and what the requests themselves take.
    assert pauses[0] >= 0.05
    assert pauses[1] >= 0.1
    assert pauses[2] >= 0.2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "86400"}, 120),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "1.2.3"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "inf"}, 0),
        ({"retry-after-ms": "nan"}, 0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -1200"}, 0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({}, 0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_may_be_a_date():
    moment = datetime.now(UTC) + timedelta(seconds=30)
    assert 25 < retry_after({"retry-after": format_datetime(moment, usegmt=True)}) <= 30


# A server that takes less, or goes away for a while


def crowded(capacity: int, seconds: float = 0.02) -> Script:
    """Turns down whatever is beyond its capacity."""
    working, lock = [0], threading.Lock()

    def script(call) -> Reply:
        with lock:
            if working[0] >= capacity:
                return fail(429)
            working[0] += 1
        time.sleep(seconds)
        with lock:
            working[0] -= 1
        return echo(call)

    return script


def test_a_server_that_takes_less_is_given_less_and_no_row_is_lost():
    questions = [str(number) for number in range(150)]
    results, server = ask(crowded(4), questions, concurrency=16, max_retries=20)
    assert [answer.text for answer in results] == questions
    # With 16 at a time throughout, refusals would by far outnumber answers.
    assert len(server.calls) < 3 * len(questions)


def test_a_third_of_all_refused_loses_no_row():
    questions = [str(number) for number in range(150)]

    def moody(call) -> Reply:
        return fail(429) if stable_seed(call.number) % 10 < 3 else echo(call)

    results, _ = ask(moody, questions, max_retries=5)
    assert [answer.text for answer in results] == questions


def test_a_pause_that_one_is_asked_for_is_kept_by_all():
    arrivals: list[float] = []

    def script(call) -> Reply:
        arrivals.append(time.monotonic())
        return fail(429, retry_after="0.5") if call.number == 1 else later(echo(call), 0.02)

    ask(script, list("abcdefghijkl"), concurrency=2)
    # At most what was under way arrives between the refusal and the end of the pause.
    assert len([moment for moment in arrivals if arrivals[1] + 0.1 < moment < arrivals[1] + 0.5]) == 0


def test_backends_share_what_a_server_takes():
    # Whose turn it is, and how many may be in flight, is up to the server and not to each of them.
    with ChatServer(lambda call: later(echo(call), 0.01)) as server, ThreadPoolExecutor(3) as pool:
        asker = Asker(base_url=server.base_url, concurrency=3)
        answers = pool.map(lambda name: list(asker.ask([f"{name}{number}" for number in range(8)])), "abc")
        assert [len(each) for each in answers] == [8, 8, 8]
        assert server.most_at_once == 3


def outage(first: int, last: int) -> Script:
    """Answers nobody from one request to another; whoever asked before has the answer by then."""

    def script(call) -> Reply:
        if not first <= call.number < last:
            return echo(call)
        limiter, deadline = limiter_of(f"http://{call.headers['host']}/v1", "test-vlm"), time.monotonic() + 10
        while limiter.answers < first and time.monotonic() < deadline:
            time.sleep(0.001)
        return fail(503)

    return script


def test_a_server_that_comes_back_costs_no_row():
    # Each of the five rows alone would have given up after its second try; after their first, one asks for all.
    questions = [str(number) for number in range(60)]
    results, server = ask(outage(20, 30), questions, max_retries=1, backoff_s=0.03, concurrency=5)
    assert [answer.text for answer in results] == questions
    assert len(server.calls) == 60 + 10
    assert max(Counter(call.texts[-1] for call in server.calls).values()) > 2


def test_a_server_that_stays_away_is_given_up_when_patience_ends():
    begun = time.monotonic()
    with pytest.raises(ServerUnreachableError, match=r"answered nothing for 0\.2 s \(server_error; the last: 503"):
        ask(outage(20, 10**9), [str(number) for number in range(60)], max_retries=20, patience_s=0.2)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("settings", [{"patience_s": 0.0}, {"max_retries": 0}])
def test_who_has_no_patience_does_not_wait(settings):
    with pytest.raises(ServerUnreachableError, match="none of 3 rows in a row"):
        ask(outage(20, 10**9), [str(number) for number in range(60)], **settings)


def test_a_row_that_failed_for_passing_trouble_is_tried_again_at_the_end():
    failures = 0

    def script(call) -> Reply:
        nonlocal failures
        if call.texts[-1] == "bad" and failures < 3:
            failures += 1
            return fail(500)
        return echo(call)

    results, server = ask(script, ["a", "bad", "c", "d"], concurrency=1)
    assert [answer.text for answer in results] == ["a", "bad", "c", "d"]
    assert [call.texts[-1] for call in server.calls] == ["a", "bad", "bad", "bad", "c", "d", "bad"]


def test_no_retries_are_none_at_the_end_either():
    _, server = ask(poisoned, ["a", "bad", "c"], concurrency=1, max_retries=0)
    assert len(server.calls) == 3


def test_rows_that_always_fail_do_not_look_like_a_server_that_is_down():
    # More of them than it takes to suspect the server, and in the end nobody else asks. In simulated time, for if five
    # were left waiting until all others are done, nobody could tell.
    questions = [f"{'bad' if number % 4 == 0 else 'good'} {number}" for number in range(32)]
    with simulated(SimulatedServer(spoilt="bad"), "test-vlm") as clock:
        results = list(Asker(base_url=BASE_URL, patience_s=1000.0).ask(questions))
    assert [isinstance(result, Failed) for result in results] == [number % 4 == 0 for number in range(32)]
    assert clock.now < 10


# When nothing helps


def test_an_item_that_alone_gets_no_answer_fails_alone():
    results, _ = ask(poisoned, ["a", "bad", "c"], concurrency=1)
    assert [type(result) for result in results] == [ChatAnswer, Failed, ChatAnswer]
    assert results[1].reason == "server_error"


def test_bad_items_at_the_start_fail_once_another_is_answered():
    results, _ = ask(poisoned, ["bad 1", "bad 2", "c"], concurrency=1)
    assert [type(result) for result in results] == [Failed, Failed, ChatAnswer]


def test_bad_items_at_the_end_fail_after_others_were_answered():
    results, _ = ask(poisoned, ["a", "bad 1", "bad 2"], concurrency=1)
    assert [type(result) for result in results] == [ChatAnswer, Failed, Failed]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (fail(429), "rate_limited"),
        (fail(500), "server_error"),
        (drop(), "connection_lost"),
        (Reply({}), "no_completion"),
    ],
)
def test_a_failure_says_what_happened(reply, reason):
    results, _ = ask(lambda call: reply if call.texts[-1] == "bad" else echo(call), ["bad", "good"], max_retries=0)
    assert isinstance(results[0], Failed)
    assert results[0].reason == reason


def test_a_time_out_says_how_long_it_waited():
    def sluggish(call) -> Reply:
        return later(echo(call), 30 if call.texts[-1] == "bad" else 0)

    results, _ = ask(sluggish, ["bad", "good"], max_retries=0, timeout_s=0.2)
    assert results[0] == Failed("timed_out", "no answer within 0.2 s")


@pytest.mark.parametrize("place", [0, 10, 29])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_items_side_by_side_that_get_no_answer_fail_alone(place, concurrency):
    # A gateway's filter may mind all of a kind, and what is of a kind lies side by side.
    questions = [f"{'bad' if place <= number < place + 3 else 'good'} {number}" for number in range(32)]
    results, _ = ask(poisoned, questions, concurrency=concurrency)
    assert [isinstance(result, Failed) for result in results] == [name.startswith("bad") for name in questions]


def test_an_item_that_is_the_only_one_fails_alone():
    # Of a last shard, perhaps: the build must not stop there for good.
    results, _ = ask(poisoned, ["bad"])
    assert [type(result) for result in results] == [Failed]


def test_items_side_by_side_fail_alone_when_nothing_else_is_left_to_ask(tmp_path):
    questions = ["a", "b", "bad 1", "bad 2", "bad 3", "c"]
    with ChatServer(poisoned) as server:
        for _ in range(2):
            with keeping_ledger(tmp_path / "ledger.sqlite"):
                results = list(Asker(base_url=server.base_url).ask(questions))
            assert [isinstance(result, Failed) for result in results] == [False, False, True, True, True, False]
        assert Counter(call.texts[-1] for call in server.calls)["a"] == 1


def test_that_a_server_was_greeted_back_before_says_nothing(tmp_path):
    questions = ["a", "bad 1", "bad 2", "bad 3", "b"]
    with ChatServer(poisoned) as server, keeping_ledger(tmp_path / "ledger.sqlite"):
        asker = Asker(base_url=server.base_url)
        assert len(list(asker.ask(questions))) == 5
        server.script = lambda call: fail(500)
        with pytest.raises(ServerUnreachableError, match="none of 3 rows in a row"):
            list(asker.ask(questions))


def test_a_server_that_answers_texts_alone_is_of_no_use_to_who_shows_images(tmp_path):
    picture = tmp_path / "red.png"
    Image.new("RGB", (8, 8), "red").save(picture)

    @dataclass(frozen=True, kw_only=True)
    class Shower(VisionSettings):
        async def look(self, chat: Chat, question: str) -> ChatAnswer | Rejected | Failed:
            return await chat.ask([{"role": "user", "content": [*self.show([picture]), text_part(question)]}])

    with ChatServer(lambda call: fail(500) if call.image_urls else echo(call)) as server:
        shower = Shower(base_url=server.base_url, model="m", api_key_env="", max_retries=0, concurrency=1)
        with pytest.raises(ServerUnreachableError, match="none of 3 rows in a row"):
            list(shower.converse(shower.look, list("abcdefghijkl")))


def test_a_server_that_dies_halfway_stops_the_work_and_fails_no_item():
    # The rows without an answer must stay undone, so that a second run does them.
    with ChatServer(outage(2, 10**9)) as server:
        results = Asker(base_url=server.base_url, concurrency=1).ask(list("abcdef"))
        assert [next(results).text, next(results).text] == ["a", "b"]
        with pytest.raises(ServerUnreachableError, match=r"none of 3 rows.*server_error"):
            next(results)


def test_a_server_that_is_not_there_is_unreachable():
    with ChatServer(echo) as server:
        gone = server.base_url
    with pytest.raises(ServerUnreachableError, match=r"none of 1 row.*connection_lost") as raised:
        list(Asker(base_url=gone).ask(["hello"]))
    # In words for a person, without what the library knows of its connections.
    address = gone.removeprefix("http://").removesuffix("/v1")
    assert f"Connection refused at {address}" in str(raised.value)
    assert not re.search(r"Error\(|ConnectionKey|Errno", str(raised.value))


def test_a_server_without_an_address_is_named():
    with pytest.raises(ServerUnreachableError, match=r"connection_lost.* at no-such-host\.invalid:80"):
        list(Asker(base_url="http://no-such-host.invalid/v1").ask(["hello"]))


# Images and prompts


def test_an_image_is_sent_as_a_small_jpeg(tmp_path):
    Image.new("RGBA", (400, 200), "red").save(tmp_path / "wide.png")
    picture = decode_image(jpeg_part(tmp_path / "wide.png", 100, 90)["image_url"]["url"])
    assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (100, 50))


def test_a_small_image_is_not_enlarged(tmp_path):
    Image.new("RGB", (40, 20)).save(tmp_path / "small.png")
    assert decode_image(jpeg_part(tmp_path / "small.png", 100, 90)["image_url"]["url"]).size == (40, 20)


@pytest.mark.parametrize("content", [b"not an image", None])
def test_an_unreadable_image_names_its_file(tmp_path, content):
    if content:
        (tmp_path / "lost.png").write_bytes(content)
    with pytest.raises(StorageError, match=r"lost\.png"):
        jpeg_part(tmp_path / "lost.png", 100, 90)


def test_a_prompt_is_filled_and_its_values_are_left_alone(tmp_path):
    prompt = write(tmp_path, 'It costs $$5, {"question": "$question"}')
    assert fill_prompt(prompt, question="$100 for {0} or ${x}?") == 'It costs $5, {"question": "$100 for {0} or ${x}?"}'


@pytest.mark.parametrize("text", ["$question and $extra", "no variable", "$question costs $5"])
def test_a_prompt_whose_variables_do_not_fit_names_file_and_variables(tmp_path, text):
    with pytest.raises(BackendError, match=r"prompt\.txt.*\$question"):
        fill_prompt(write(tmp_path, text), question="?")


def test_valid_unicode_leaves_real_text_alone():
    assert valid_unicode("naïve 🙂 text") == "naïve 🙂 text"


def write(folder: Path, text: str) -> Path:
    path = folder / "prompt.txt"
    path.write_text(text)
    return path
