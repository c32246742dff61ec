"""Lines as OpenAI's clients type them; the types are the `openai` package's own."""

import base64
import io
import json
from pathlib import Path

import pytest
from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from PIL import Image
from pydantic import TypeAdapter

from mis_dataset.errors import DatasetError

REQUEST = TypeAdapter(CompletionCreateParamsNonStreaming)
# Checked on their own: what the types call Iterable, pydantic would check only when somebody iterates over it.
MESSAGE = TypeAdapter(ChatCompletionMessageParam)
PART = TypeAdapter(ChatCompletionContentPartParam)


def check(messages: list[dict]) -> None:
    for message in messages:
        MESSAGE.validate_python(message, strict=True)
        for part in message["content"] if isinstance(message["content"], list) else []:
            PART.validate_python(part, strict=True)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def urls(message: dict) -> list[str]:
    return [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]


def decoded(url: str) -> bytes:
    return base64.b64decode(url.partition(",")[2], validate=True)


def test_rows_to_learn_from(exported, rows):
    entries = lines(exported("openai") / "finetune-train.jsonl")
    expected = [row for row in rows if row["subset"] == "train"]
    assert len(entries) == len(expected)
    for entry, row in zip(entries, expected, strict=True):
        assert set(entry) == {"messages"}
        check(entry["messages"])
        user, assistant = entry["messages"]
        assert (user["role"], assistant) == ("user", {"role": "assistant", "content": row["response"]})
        assert user["content"][-1] == {"type": "text", "text": row["question"]}
        assert [decoded(url) for url in urls(user)] == [image["bytes"] for image in row["images"]]
        assert all(url.startswith("data:image/png;base64,") for url in urls(user))


def test_requests_of_a_batch(exported, rows):
    folder = exported("openai", kind="batch", model="some-model", max_tokens=77)
    entries = lines(folder / "batch-easy-00001.jsonl") + lines(folder / "batch-hard-00001.jsonl")
    assert [entry["custom_id"] for entry in entries] == [row["id"] for row in rows if row["subset"] != "train"]
    for entry in entries:
        assert set(entry) == {"custom_id", "method", "url", "body"}
        assert (entry["method"], entry["url"]) == ("POST", "/v1/chat/completions")
        REQUEST.validate_python(entry["body"])
        check(entry["body"]["messages"])
        assert entry["body"]["model"] == "some-model"
        assert entry["body"]["max_completion_tokens"] == 77
        assert [message["role"] for message in entry["body"]["messages"]] == ["user"]


def test_batches_keep_to_the_limit_of_requests(exported):
    whole = exported("openai", kind="batch")
    cut = exported("openai", kind="batch", max_requests=5)
    parts = sorted(cut.glob("batch-easy-*"))
    assert [len(lines(part)) for part in parts] == [5, 5, 2]
    assert b"".join(part.read_bytes() for part in parts) == (whole / "batch-easy-00001.jsonl").read_bytes()


def test_batches_keep_to_the_limit_of_bytes(exported):
    whole = exported("openai", kind="batch")
    sizes = [len(line) for line in (whole / "batch-hard-00001.jsonl").read_bytes().splitlines(keepends=True)]
    limit = max(sizes) + min(sizes)
    parts = sorted(exported("openai", kind="batch", max_bytes=max(limit, 12_000)).glob("batch-hard-*"))
    assert len(parts) > 1
    assert all(part.stat().st_size <= max(limit, 12_000) for part in parts)
    assert b"".join(part.read_bytes() for part in parts) == (whole / "batch-hard-00001.jsonl").read_bytes()


def test_a_request_that_fits_no_file_is_named(exported):
    with pytest.raises(DatasetError, match=r"mis-\w+: its request has [\d,]+ bytes, the limit is 500; shrink"):
        exported("openai", kind="batch", max_bytes=500)


def test_images_may_be_files(exported, rows):
    folder = exported("openai", images="files", root="file:///data/mis")
    user = lines(folder / "finetune-train.jsonl")[0]["messages"][0]
    found = urls(user)
    assert all(url.startswith("file:///data/mis/images/train/") for url in found)
    stored = [(folder / url.removeprefix("file:///data/mis/")).read_bytes() for url in found]
    assert stored == [image["bytes"] for image in rows[0]["images"]]


@pytest.mark.parametrize("images", ["data", "files"])
def test_images_may_be_shrunk(images: str, exported):
    folder = exported("openai", images=images, longest_side=20)
    for url in urls(lines(folder / "finetune-train.jsonl")[0]["messages"][0]):
        data = decoded(url) if images == "data" else (folder / url).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == ("JPEG", (20, 20))
