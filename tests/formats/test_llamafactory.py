"""Rows as LLaMA-Factory reads them.

The package installs, but needs an older `transformers` than ours. What it reads is written down from version 0.9.5:
``llamafactory/data/parser.py`` (`get_dataset_list`: the keys of ``dataset_info.json``), ``converter.py``
(`SharegptDatasetConverter`: the user first, roles by turns; images below ``media_dir``, which is the ``dataset_dir``)
and ``mm_plugin.py`` (`_validate_messages`: as many ``<image>`` as images, in all messages together). Its own parser,
converter and check took the export of the sample dataset.
"""

import json

import pytest
from datasets import load_dataset

KEYS = {"file_name", "formatting", "columns", "tags"}
COLUMNS = {"prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios"}
TAGS = {"role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"}


@pytest.fixture
def folder(exported):
    return exported("llamafactory")


def test_every_file_is_registered_with_keys_that_are_known(folder):
    info = json.loads((folder / "dataset_info.json").read_text())
    assert set(info) == {"mis_train"}
    for entry in info.values():
        assert (folder / entry["file_name"]).is_file()
        assert entry["formatting"] == "sharegpt"
        assert set(entry) <= KEYS
        assert set(entry["columns"]) <= COLUMNS
        assert set(entry["tags"]) <= TAGS


def test_rows_convert(folder, rows, tmp_path):
    info = json.loads((folder / "dataset_info.json").read_text())["mis_train"]
    columns, tags = info["columns"], info["tags"]
    # It loads files by the builder `json` of `datasets`, which wants the same keys in all rows.
    data = load_dataset(
        "json", data_files=str(folder / info["file_name"]), split="train", cache_dir=str(tmp_path / "cache")
    )
    expected = [row for row in rows if row["subset"] == "train"]
    assert len(data) == len(expected)
    for entry, row in zip(data, expected, strict=True):
        messages = entry[columns["messages"]]
        assert [message[tags["role_tag"]] for message in messages] == [tags["user_tag"], tags["assistant_tag"]]
        texts = [message[tags["content_tag"]] for message in messages]
        assert texts == ["<image>" * len(row["images"]) + row["question"], row["response"]]
        stored = [(folder / path).read_bytes() for path in entry[columns["images"]]]
        assert stored == [image["bytes"] for image in row["images"]]


def test_other_subsets_are_datasets_of_their_own(dataset, tmp_path):
    from mis_dataset.formats import export

    export(dataset, "llamafactory", tmp_path / "out", subsets=["train", "hard"])
    assert set(json.loads((tmp_path / "out" / "dataset_info.json").read_text())) == {"mis_train", "mis_hard"}
