"""Answers and drawings are paid for once, and every build knows what it cost."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from chat_server import ChatServer, Reply, Script, fail, say

from mis_dataset.budget import Cost, Limits, Prices, TokenPrice
from mis_dataset.chat import Chat, ChatAnswer, ChatSettings
from mis_dataset.errors import BudgetError, ServerUnreachableError, StorageError
from mis_dataset.ledger import Ledger, Usage, keeping_ledger, open_account, request_key
from mis_dataset.records import Failed, Rejected

DOWN = 4
"""So many requests come to nothing before one item, which is tried twice, and a greeting are given up."""
USAGE = Usage("m", requests=1, prompt_tokens=100, completion_tokens=20, seconds=0.5)


def picture(seconds: float) -> Usage:
    return Usage("sd", images=1, seconds=seconds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with keeping_ledger(path) as opened:
        yield opened


def reread(path: Path, *folders: str) -> tuple[Cost, ...]:
    """What a later build, for which these stages were done before, has cost."""
    with keeping_ledger(path) as opened:
        for folder in folders:
            with opened.charging(folder):
                pass
        return opened.costs()


# What is kept


def test_an_answer_comes_back_in_another_process_life(path: Path):
    killed = Ledger(path)
    with killed.charging("teach-1") as account:
        account.keep("k", {"text": "ü", "prompt_tokens": 3}, USAGE)
        account.keep("p", {"path": "a.png"}, picture(2.0))
    # Not closed: a killed process does not close its files either.
    with keeping_ledger(path) as later:
        assert later.get("k") == {"text": "ü", "prompt_tokens": 3}
        assert later.get("p") == {"path": "a.png"}
    assert reread(path, "teach-1") == killed.costs()
    killed.close()


def test_an_unknown_key_has_no_answer_and_costs_nothing(ledger: Ledger):
    with ledger.charging("teach-1") as account:
        assert account.recall("k") is None
    assert ledger.costs() == ()


def test_the_key_is_everything_that_was_asked():
    asked = {"server": "s", "messages": [{"role": "user", "content": "x"}], "seed": 1}
    assert request_key(**asked) == request_key(**dict(reversed(asked.items())))
    assert request_key(**{**asked, "seed": 2}) != request_key(**asked)


def test_an_account_is_open_only_within_the_block(tmp_path: Path):
    assert open_account() is None
    with keeping_ledger(tmp_path / "ledger.sqlite") as ledger:
        with ledger.charging("teach-1") as account:
            assert open_account() is account
        assert open_account() not in (None, account)
    assert open_account() is None
    # Nothing was asked, so no file was made.
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path):
    (tmp_path / "ledger.sqlite").write_text("something else entirely, and long enough to be noticed as such" * 20)
    with (
        pytest.raises(StorageError, match=r"ledger\.sqlite: answers cannot be kept there"),
        Ledger(tmp_path / "ledger.sqlite").charging("teach-1"),
    ):
        pass


def test_a_file_of_other_tables_is_damaged(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as database:
        database.execute("CREATE TABLE kept (recipe TEXT)")
    with pytest.raises(StorageError, match="it is damaged"), Ledger(tmp_path / "ledger.sqlite").charging("teach-1"):
        pass


def test_a_file_that_is_out_of_reach_is_not_called_damaged(tmp_path: Path):
    (tmp_path / "ledger.sqlite").mkdir()
    with (
        pytest.raises(StorageError, match="free space, or see that it can be written, and run") as raised,
        Ledger(tmp_path / "ledger.sqlite").charging("teach-1"),
    ):
        pass
    assert "damaged" not in str(raised.value)
    assert "asked for again" not in str(raised.value)


# Conversations


def ask(server: ChatServer, question: str = "why?", **settings: object) -> ChatAnswer | Rejected | Failed:
    async def one(chat, item):
        return await chat.ask([{"role": "user", "content": item}])

    asking = ChatSettings(
        base_url=server.base_url, model="m", api_key_env="", backoff_s=0.001, max_retries=1, **settings
    )
    (outcome,) = asking.converse(one, [question])
    return outcome


ENDINGS = pytest.mark.parametrize(
    "reply", [say("yes"), say(None, refusal="no"), say("cut", finish="length")], ids=["answer", "refusal", "truncation"]
)


@ENDINGS
def test_what_was_paid_for_once_is_not_asked_again(ledger: Ledger, reply: Reply):
    with ChatServer(lambda call: reply) as server:
        first = ask(server)
        assert ask(server) == first
        assert len(server.calls) == 1
        ask(server, "and now?")
        ask(server, temperature=0.5)
        assert len(server.calls) == 3


@ENDINGS
def test_tokens_count_whatever_came_of_them(ledger: Ledger, reply: Reply):
    with ChatServer(lambda call: reply) as server, ledger.charging("teach-1"):
        ask(server)
    (cost,) = ledger.costs()
    assert (cost.stage, cost.model) == ("teach", "m")
    assert (cost.requests, cost.prompt_tokens, cost.completion_tokens) == (1, 100, 20)
    assert cost.seconds > 0


def test_what_the_servers_filter_stopped_counts_as_a_request(ledger: Ledger):
    script: Script = lambda call: fail(400, code="content_filter")  # noqa: E731 - a script is a function
    with ChatServer(script) as server, ledger.charging("teach-1"):
        assert isinstance(ask(server), Rejected)
        ask(server)
        assert len(server.calls) == 1
    (cost,) = ledger.costs()
    assert (cost.requests, cost.prompt_tokens, cost.completion_tokens) == (1, 0, 0)


def test_trouble_is_neither_kept_nor_charged(ledger: Ledger):
    with ChatServer(lambda call: fail(500) if call.number < DOWN else say("at last")) as server:
        with pytest.raises(ServerUnreachableError):
            ask(server)
        assert ledger.costs() == ()
        assert isinstance(ask(server), ChatAnswer)
    assert [cost.requests for cost in ledger.costs()] == [1]


def test_every_try_is_counted_by_how_it_ended(ledger: Ledger):
    with (
        ChatServer(lambda call: fail(500) if call.number < DOWN else say("at last")) as server,
        ledger.charging("teach-1"),
    ):
        with pytest.raises(ServerUnreachableError):
            ask(server)
        ask(server)
        ask(server)  # kept: not asked again
    (traffic,) = ledger.traffic()
    assert (traffic.stage, traffic.model, traffic.answered) == ("teach", "m", 1)
    assert traffic.troubles == {"server_error": DOWN}
    assert traffic.error_rate == pytest.approx(DOWN / (DOWN + 1))


def test_a_limit_stops_the_next_request_and_no_answer_that_is_kept(path: Path):
    with ChatServer(lambda call: say("yes")) as server, keeping_ledger(path, limits=Limits(max_requests=2)):
        ask(server, "one")
        ask(server, "two")
        with pytest.raises(BudgetError, match="max_requests = 2 is reached"):
            ask(server, "three")
        assert isinstance(ask(server, "one"), ChatAnswer)
        assert len(server.calls) == 2


def test_a_request_in_flight_takes_up_room_until_it_has_come_in(path: Path):
    with keeping_ledger(path, limits=Limits(max_requests=2)) as ledger:
        full = pytest.raises(BudgetError, match=r"max_requests = 2 is reached: 0 requests, .*; 2 more in flight")
        with ledger.paying(), ledger.paying(), full:
            no_room(ledger)
        # Neither was answered, and so neither was paid for.
        with ledger.paying():
            open_account().keep("k", {}, USAGE)
        with ledger.paying():
            open_account().keep("l", {}, USAGE)
        with pytest.raises(BudgetError, match=r"max_requests = 2 is reached: 2 requests, [^;]*$"):
            no_room(ledger)


def no_room(ledger: Ledger) -> None:
    with ledger.paying():
        raise AssertionError("there was room for another request")


def test_what_is_in_flight_comes_in_and_nothing_new_begins_when_a_limit_is_reached(path: Path):
    begun: list[str] = []

    async def one(chat: Chat, question: str) -> ChatAnswer | Rejected | Failed:
        begun.append(question)
        answer = await chat.ask([{"role": "user", "content": question}])
        return await chat.ask([{"role": "user", "content": "more"}]) if question == "number 0" else answer

    # The first meets the limit with its second request, while the others' first ones are in flight.
    slow = lambda call: replace(say("yes"), after_s=0.0 if call.texts == ["number 0"] else 0.1)  # noqa: E731
    with ChatServer(slow) as server:
        asking = ChatSettings(base_url=server.base_url, model="m", api_key_env="", concurrency=16)
        questions = [f"number {number}" for number in range(40)]
        with keeping_ledger(path, limits=Limits(max_requests=5)):
            with pytest.raises(BudgetError):
                list(asking.converse(one, questions))
            assert len(server.calls) == 5
            # The sixth found no room.
            assert begun == questions[:6]
        with keeping_ledger(path) as unlimited:
            assert len(list(asking.converse(one, questions))) == 40
            assert [cost.requests for cost in unlimited.costs()] == [41]
        assert Counter(call.texts[0] for call in server.calls) == Counter([*questions, "more"])


# Costs


def test_costs_add_up_per_stage_and_model(ledger: Ledger, path: Path):
    with ledger.charging("teach-1") as account:
        account.keep("a", {}, USAGE)
        account.keep("b", {}, USAGE)
        account.keep("c", {}, Usage("judge", 1, 1, 2, 0, 0.25))
    with ledger.charging("screen-1") as account:
        account.keep("d", {}, Usage("judge", 1, 10, 20, 0, 0.25))
    # In the order in which stages come, whichever life of the build asks.
    assert (
        ledger.costs()
        == reread(path, "teach-1", "screen-1")
        == (
            Cost("teach", "judge", 1, 1, 2, 0, 0.25),
            Cost("teach", "m", 2, 200, 40, 0, 1.0),
            Cost("screen", "judge", 1, 10, 20, 0, 0.25),
        )
    )


def test_images_and_seconds_add_up_over_shards_rounds_and_lives(path: Path):
    for number, folder in enumerate(("render-1", "render-1", "render-2")):
        with keeping_ledger(path) as ledger, ledger.charging(folder) as account:
            account.keep(f"{number} a", {}, picture(1.5))
            account.keep(f"{number} b", {}, picture(0.5))
    assert reread(path, "render-1", "render-2") == (Cost("render", "sd", images=6, seconds=6.0),)


def test_an_image_and_an_answer_of_one_stage_and_model_share_a_line(ledger: Ledger, path: Path):
    with ledger.charging("render-1") as account:
        account.keep("p", {}, Usage("m", images=1, seconds=2.0))
        account.keep("a", {}, USAGE)
    assert ledger.costs() == reread(path, "render-1") == (Cost("render", "m", 1, 100, 20, 1, 2.5),)


def test_a_drawing_that_cost_nothing_is_kept_and_makes_no_line(ledger: Ledger, path: Path):
    with ledger.charging("render-1") as account:
        account.keep("p", {"path": "a.png"}, Usage("pictogram"))
        assert account.recall("p") == {"path": "a.png"}
    assert ledger.costs() == reread(path, "render-1") == ()


def test_threads_lose_nothing(ledger: Ledger):
    with ledger.charging("render-1") as account, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: account.keep(f"p{number}", {}, picture(0.25)), range(200)))
        # What several asked for at once was paid for as often.
        list(pool.map(lambda number: account.keep(f"{number % 50}", {}, USAGE), range(200)))
    assert {cost.model: (cost.images, cost.requests) for cost in ledger.costs()} == {"sd": (200, 0), "m": (0, 200)}


# The second wants what the first wanted: one build pays once, and the first is named.
@pytest.mark.parametrize("second", ["teach-1", "teach-2", "screen-1"], ids=["stage", "round", "other stage"])
def test_what_is_used_twice_counts_once(ledger: Ledger, path: Path, second: str):
    with ledger.charging("teach-1") as account:
        account.keep("k", {}, USAGE)
    with ledger.charging(second) as account:
        assert account.recall("k") == {}
    once = (Cost("teach", "m", 1, 100, 20, 0, 0.5),)
    assert ledger.costs() == once
    # And so it does for whoever reads the file later.
    assert reread(path, "teach-1", second) == once


def test_what_an_earlier_build_paid_for_counts_where_it_is_used(path: Path):
    with keeping_ledger(path) as earlier, earlier.charging("teach-1") as account:
        account.keep("used", {}, USAGE)
        account.keep("not used", {}, USAGE)
    with keeping_ledger(path) as later, later.charging("teach-2") as account:
        assert later.costs() == ()
        account.recall("used")
        assert later.costs() == (Cost("teach", "m", 1, 100, 20, 0, 0.5),)
    assert reread(path, "teach-2") == (Cost("teach", "m", 1, 100, 20, 0, 0.5),)


def test_other_builds_in_the_same_folder_are_none_of_its_business(path: Path):
    with keeping_ledger(path) as earlier, earlier.charging("teach-1") as account:
        account.keep("k", {}, USAGE)
        account.keep("p", {}, picture(100.0))
    with keeping_ledger(path, limits=Limits(max_requests=1, max_gpu_seconds=1)) as later, later.charging("teach-2"):
        later.check("max_requests", "max_usd", "max_gpu_seconds")
    assert reread(path, "teach-2") == ()


def test_what_an_earlier_life_spent_counts_against_the_limit(path: Path):
    with keeping_ledger(path) as earlier, earlier.charging("render-1") as account:
        account.keep("p", {}, picture(100.0))
    with keeping_ledger(path, limits=Limits(max_gpu_seconds=100)) as later:
        later.check("max_requests", "max_usd", "max_gpu_seconds")
        with later.charging("render-1"), pytest.raises(BudgetError, match="max_gpu_seconds = 100"):
            later.check("max_requests", "max_usd", "max_gpu_seconds")


def test_prices_are_those_of_today(path: Path):
    with keeping_ledger(path) as earlier, earlier.charging("teach-1") as account:
        account.keep("k", {}, USAGE)
    for per_million, usd in ((10, 0.0012), (20, 0.0024)):
        prices = Prices(models={"m": TokenPrice(per_million, per_million)})
        with keeping_ledger(path, prices) as later, later.charging("teach-1"):
            (cost,) = later.costs()
            assert cost.usd == pytest.approx(usd)
