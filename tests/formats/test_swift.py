"""Rows as ms-swift reads them.

The package installs, but needs many others. What it reads is written down from version 4.6.0:
``swift/dataset/preprocessor/core.py`` (`AutoPreprocessor`: a column ``messages``; `RowPreprocessor._check_messages`:
roles, no empty content; `_cast_mm_data`: ``images`` a list of paths). Its own preprocessor took the export of the
sample dataset with ``strict=True``.
"""

import json

ROLES = {"system", "user", "tool_call", "tool_response", "tool", "assistant"}


def test_messages_and_images(exported, rows):
    folder = exported("swift")
    entries = [json.loads(line) for line in (folder / "mis_train.jsonl").read_text().splitlines()]
    expected = [row for row in rows if row["subset"] == "train"]
    assert len(entries) == len(expected)
    for entry, row in zip(entries, expected, strict=True):
        assert set(entry) == {"messages", "images"}
        user, assistant = entry["messages"]
        assert set(user) == set(assistant) == {"role", "content"}
        assert {user["role"], assistant["role"]} <= ROLES
        assert user["content"] == "<image>" * len(row["images"]) + row["question"]
        assert assistant["content"] == row["response"]
        stored = [(folder / path).read_bytes() for path in entry["images"]]
        assert stored == [image["bytes"] for image in row["images"]]


def test_paths_may_start_elsewhere(exported):
    folder = exported("swift", root="/data/mis/")
    entry = json.loads((folder / "mis_train.jsonl").read_text().splitlines()[0])
    assert all(path.startswith("/data/mis/images/train/mis-") for path in entry["images"])
