from pathlib import Path

import pytest
from chat_server import ChatServer, Script, fail, say

from mis_dataset.chat import ChatAnswer, ChatSettings, keeping_answers
from mis_dataset.chat.answers import AnswerStore, open_store, request_key
from mis_dataset.errors import ServerUnreachableError, StorageError
from mis_dataset.records import Failed, Rejected


def test_an_answer_comes_back_in_another_process_life(tmp_path: Path):
    first = AnswerStore(tmp_path / "deep" / "answers.sqlite")
    first.put("k", {"text": "ü", "prompt_tokens": 3})
    # Not closed: a killed process does not close its files either.
    assert AnswerStore(tmp_path / "deep" / "answers.sqlite").get("k") == {"text": "ü", "prompt_tokens": 3}
    first.close()


def test_an_unknown_key_has_no_answer(tmp_path: Path):
    store = AnswerStore(tmp_path / "answers.sqlite")
    assert store.get("k") is None
    store.close()


def test_the_key_is_everything_that_was_asked():
    asked = {"server": "s", "messages": [{"role": "user", "content": "x"}], "seed": 1}
    assert request_key(**asked) == request_key(**dict(reversed(asked.items())))
    assert request_key(**{**asked, "seed": 2}) != request_key(**asked)


def test_a_store_is_open_only_within_the_block(tmp_path: Path):
    assert open_store() is None
    with keeping_answers(tmp_path / "answers.sqlite"):
        assert open_store() is not None
    assert open_store() is None
    # Nothing was asked, so no file was made.
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path):
    (tmp_path / "answers.sqlite").write_text("something else entirely, and long enough to be noticed as such" * 20)
    with pytest.raises(StorageError, match=r"answers\.sqlite"):
        AnswerStore(tmp_path / "answers.sqlite").get("k")


def ask(server: ChatServer, question: str = "why?", **settings: object) -> ChatAnswer | Rejected | Failed:
    async def one(chat, item):
        return await chat.ask([{"role": "user", "content": item}])

    asking = ChatSettings(
        base_url=server.base_url, model="m", api_key_env="", backoff_s=0.001, max_retries=1, **settings
    )
    (outcome,) = asking.converse(one, [question])
    return outcome


@pytest.mark.parametrize(
    "script",
    [
        lambda call: say(f"answer {call.number}"),
        lambda call: say(None, refusal="no"),
        lambda call: say("cut", finish="length"),
    ],
    ids=["answer", "refusal", "truncation"],
)
def test_what_was_paid_for_once_is_not_asked_again(tmp_path: Path, script: Script):
    with ChatServer(script) as server, keeping_answers(tmp_path / "answers.sqlite"):
        first = ask(server)
        assert ask(server) == first
        assert len(server.calls) == 1
        ask(server, "and now?")
        ask(server, temperature=0.5)
        assert len(server.calls) == 3


def test_trouble_is_not_kept(tmp_path: Path):
    with (
        ChatServer(lambda call: fail(500) if call.number < 2 else say("at last")) as server,
        keeping_answers(tmp_path / "answers.sqlite"),
    ):
        with pytest.raises(ServerUnreachableError):
            ask(server)
        assert isinstance(ask(server), ChatAnswer)
