"""Rows as LLaVA-NeXT and InternVL read them.

Neither installs from a registry. What their datasets read: LLaVA-NeXT ``llava/train/train.py``, `LazySupervisedDataset`
(a JSON array; ``image`` a path or a list of paths below ``image_folder``; ``conversations`` of ``human`` and ``gpt``);
InternVL ``internvl_chat/internvl/train/internvl_chat_finetune.py`` (a meta file of ``root``, ``annotation``,
``data_augment``, ``repeat_time``; JSON lines, one ``<image>`` per image of the list).
"""

import json

import pytest

from mis_dataset.intake import Files, make_format, read_all
from mis_dataset.schema import checker

CHECK = checker(
    {
        "type": "object",
        "required": ["id", "image", "conversations"],
        "properties": {
            "id": {"type": "string"},
            "image": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "conversations": {
                "type": "array",
                "prefixItems": [
                    {"properties": {"from": {"const": "human"}, "value": {"type": "string"}}},
                    {"properties": {"from": {"const": "gpt"}, "value": {"type": "string"}}},
                ],
                "items": {"required": ["from", "value"], "additionalProperties": False},
                "minItems": 2,
                "maxItems": 2,
            },
        },
    }
)


def test_a_json_array_for_llava(exported, rows):
    folder = exported("llava")
    entries = json.loads((folder / "mis_train.json").read_text())
    expected = [row for row in rows if row["subset"] == "train"]
    assert [entry["id"] for entry in entries] == [row["id"] for row in expected]
    for entry, row in zip(entries, expected, strict=True):
        assert CHECK(entry) == []
        human, gpt = (message["value"] for message in entry["conversations"])
        assert human == "<image>\n" * len(row["images"]) + row["question"]
        assert gpt == row["response"]
        stored = [(folder / path).read_bytes() for path in entry["image"]]
        assert stored == [image["bytes"] for image in row["images"]]


def test_json_lines_and_a_meta_file_for_internvl(exported, rows):
    folder = exported("llava", dialect="internvl", root="data/mis/")
    meta = json.loads((folder / "meta.json").read_text())
    assert meta == {
        "mis_train": {
            "root": "data/mis/",
            "annotation": "data/mis/mis_train.jsonl",
            "data_augment": False,
            "repeat_time": 1,
            "length": 9,
        }
    }
    entries = [json.loads(line) for line in (folder / "mis_train.jsonl").read_text().splitlines()]
    assert len(entries) == 9
    for entry in entries:
        assert CHECK(entry) == []
        assert entry["conversations"][0]["value"].count("<image>") == len(entry["image"])


def test_paths_of_the_meta_file_may_be_relative_to_where_one_is(exported):
    meta = json.loads((exported("llava", dialect="internvl", root="") / "meta.json").read_text())
    assert (meta["mis_train"]["root"], meta["mis_train"]["annotation"]) == ("", "mis_train.jsonl")


# `str.splitlines` cuts at these, of which JSON knows nothing.
@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_texts_with_separators_of_lines_come_back(separator: str, changed, exported, rows):
    directory = changed(lambda row: [{**row, "response": f"See{separator}{row['response']}"}])
    reader = make_format("llava", {})
    found = read_all(reader, Files(exported("llava", directory, dialect="internvl"), reader.remedy), "the export")
    expected = [f"See{separator}{row['response']}" for row in rows if row["subset"] == "train"]
    assert [taken.record.label.response for taken in found] == expected


def test_the_dialects_hold_the_same_rows(exported):
    array = json.loads((exported("llava") / "mis_train.json").read_text())
    lines = (exported("llava", dialect="internvl") / "mis_train.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == array
