"""Rows as trainers write them: LLaVA, InternVL, LLaMA-Factory."""

import json

import pytest
from official_files import png
from samples import sample_dataset

from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.formats import export
from mis_dataset.formats.source import Source
from mis_dataset.intake import Files, available, make_format, read_all


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(png(name))
    return tmp_path


def row(key, **changes):
    turns = [{"from": "human", "value": "<image>\n<image>\nWhich is first?"}, {"from": "gpt", "value": "The left."}]
    return {key: ["a.png", "b.png"], "conversations": turns, **changes}


def read(format_, place, images=None, **options):
    reader = make_format(format_, options)
    return [taken.record for taken in read_all(reader, Files(place, reader.remedy, images=images), str(place))]


def problems(*arguments, **options):
    with pytest.raises(DatasetError) as caught:
        read(*arguments, **options)
    return caught.value.problems


KEYS = {"llava": "image", "llamafactory": "images"}


@pytest.mark.parametrize("format_", KEYS)
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_file_is_read(folder, format_, suffix):
    rows = [row(KEYS[format_], id="x7", category="Violent", sub_category="Brawls"), row(KEYS[format_])]
    text = json.dumps(rows) if suffix == "json" else "\n".join(map(json.dumps, rows))
    (folder / f"rows.{suffix}").write_text(text)
    first, second = read(format_, folder / f"rows.{suffix}")
    assert (first.scenario.question, first.label.response) == ("Which is first?", "The left.")
    assert (first.scenario.category, first.scenario.sub_category) == ("Violent", "Brawls")
    assert (first.scenario.origin.source, first.scenario.origin.row) == (f"rows.{suffix}", "x7")
    assert (second.scenario.origin.row, second.scenario.category) == ("2", "")
    assert [picture.source for picture in first.pictures] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    "value", ["<image><image>Q", "<image>\n<image>\nQ", "Q\n<image>\n<image>", "Q", "<image>Q<image>"]
)
def test_marks_at_either_end_are_taken_off(folder, value):
    turns = [{"from": "human", "value": value}, {"from": "gpt", "value": "A"}]
    (folder / "rows.json").write_text(json.dumps([row("image", conversations=turns)]))
    assert read("llava", folder)[0].scenario.question == "Q"


def test_rows_say_their_subset_and_intent_or_the_options_do(folder):
    rows = [row("image"), row("image", subset="hard", intent="harmful")]
    (folder / "rows.json").write_text(json.dumps(rows))
    found = read("llava", folder, subset="easy", intent="benign")
    assert [(record.scenario.subset, record.scenario.intent) for record in found] == [
        ("easy", "benign"),
        ("hard", "harmful"),
    ]


def test_all_files_of_a_folder_are_read_but_those_that_trainers_keep_beside_them(folder):
    (folder / "b.json").write_text(json.dumps([row("image")]))
    (folder / "a.jsonl").write_text(json.dumps(row("image", image=["b.png", "c.png"])))
    (folder / "meta.json").write_text("{}")
    assert [record.scenario.origin.source for record in read("llava", folder)] == ["a.jsonl", "b.json"]


def test_images_may_start_from_another_folder(folder, tmp_path_factory):
    rows = tmp_path_factory.mktemp("rows") / "rows.json"
    rows.write_text(json.dumps([row("image")]))
    assert len(read("llava", rows, images=folder)) == 1
    rows.write_text(json.dumps([row("image", image=["a.png", f"../{folder.name}/b.png"])]))
    assert "leads out of its folder" in problems("llava", rows, images=folder)[0]


def test_a_linked_file_of_rows_is_named(folder, tmp_path_factory):
    rows = tmp_path_factory.mktemp("rows") / "rows.json"
    rows.write_text(json.dumps([row("image")]))
    (folder / "rows.json").symlink_to(rows)
    assert problems("llava", folder)[0].startswith("rows.json: is a link")


def test_dataset_info_says_how_rows_are_laid_out(folder):
    turns = [{"role": "user", "content": "<image><image>Q"}, {"role": "assistant", "content": "A"}]
    (folder / "theirs.json").write_text(json.dumps([{"messages": turns, "pictures": ["a.png", "b.png"]}]))
    (folder / "words.json").write_text("[]")
    info = {
        "theirs": {
            "file_name": "theirs.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "pictures"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        },
        "words": {"file_name": "words.json"},
        "far": {"hf_hub_url": "someone/far", "formatting": "sharegpt", "columns": {"images": "images"}},
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (record,) = read("llamafactory", folder)
    assert (record.scenario.question, record.label.response) == ("Q", "A")


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (None, "dataset_info.json: is not in"),
        ({"theirs": {"file_name": "theirs.json"}}, "names no dataset with formatting 'sharegpt'"),
        ({"theirs": {"file_name": "../theirs.json"}}, "its file_name '../theirs.json' is no file in"),
        ({"theirs": {"file_name": "gone.json"}}, "its file_name 'gone.json' is no file in"),
        ({"theirs": {"file_name": "nul\0.json"}}, r"its file_name 'nul\x00.json' is no file in"),
        ({"theirs": {"file_name": "x" * 300}}, f"its file_name '{'x' * 255}…' is no file in"),
    ],
)
def test_a_dataset_info_that_leads_nowhere_is_named(folder, info, words):
    (folder.parent / "theirs.json").write_text("[]")
    if info:
        if "is no file" in words:
            info["theirs"] |= {"formatting": "sharegpt", "columns": {"images": "images"}}
        (folder / "dataset_info.json").write_text(json.dumps(info))
    assert words in problems("llamafactory", folder)[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tags": ["from"]}, "tags: ['from'] is not of type 'object'"),
        ({"tags": "from"}, "tags: 'from' is not of type 'object'"),
        ({"tags": {"role_tag": ["from"]}}, "tags.role_tag: ['from'] is not of type 'string'"),
        ({"columns": {"images": "images", "messages": ["x"]}}, "columns.messages: ['x'] is not of type 'string'"),
    ],
)
def test_a_dataset_info_that_does_not_name_keys_is_named(folder, change, words):
    (folder / "rows.json").write_text(json.dumps([row("images")]))
    info = {"file_name": "rows.json", "formatting": "sharegpt", "columns": {"images": "images"}}
    (folder / "dataset_info.json").write_text(json.dumps({"theirs": {**info, **change}}))
    assert problems("llamafactory", folder) == [
        f"dataset_info.json, entry theirs: {words}; write texts, as LLaMA-Factory has them"
    ]


def test_files_laid_out_for_llama_factory_are_passed_over_unless_there_are_no_others(folder):
    (folder / "again.json").write_text(json.dumps([row("images")]))
    assert problems("llava", folder)[-1] == "again.json, entry 1: has 0 images; a row has 2 to 4"
    (folder / "rows.json").write_text(json.dumps([row("image")]))
    assert [record.scenario.origin.source for record in read("llava", folder)] == ["rows.json"]


def test_the_line_that_is_no_json_is_named(folder):
    (folder / "rows.jsonl").write_text(f"{json.dumps(row('image'))}\n\n{{'single quotes'}}\n")
    assert "line 3 column 2" in problems("llava", folder)[0]


def test_a_folder_without_rows_is_named(folder):
    assert problems("llava", folder) == [f"{folder.name}: there is no JSON or JSONL file"]


def test_every_broken_row_is_named(folder):
    rows = [row("image", subset="medium"), row("image", image="a.png"), row("image", conversations=[{"from": "gpt"}])]
    (folder / "rows.json").write_text(json.dumps(rows))
    found = problems("llava", folder)
    assert [problem.split(":")[0] for problem in found] == [
        "rows.json, entry 1",
        "rows.json, entry 2",
        "rows.json, entry 2",
        "rows.json, entry 3",
    ]
    assert "its subset is 'medium'; write one of train, easy, hard, real" in found[0]


# JSON can hold half of a pair that makes one character; nothing else can.
@pytest.mark.parametrize(
    "change",
    [
        {"conversations": [{"from": "human", "value": "Half: \ud83d"}, {"from": "gpt", "value": "A"}]},
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "Half: \ud83d"}]},
        {"category": "\ud83d"},
        {"id": "\ude00"},
    ],
)
def test_half_a_character_is_named(folder, change):
    rows = {"a": row("image"), "b": row("image", **change), "c": row("image", subset="medium")}
    (folder / "rows.json").write_text(json.dumps(rows))
    found = problems("llava", folder)
    assert [problem.split(";")[0] for problem in found] == [
        "rows.json, entry c: its subset is 'medium'",
        "rows.json, entry b: has half a character (a lone surrogate such as \\ud83d)",
    ]


def test_what_is_told_of_half_a_character_can_be_printed(folder):
    (folder / "rows.json").write_text(json.dumps({"\ud83d": row("image", image=["a.png", "\ud83d.png"])}))
    found = problems("llava", folder)
    assert found[0] == "rows.json, entry ?: the image ?.png is not there, neither as a file nor in a zip"
    assert found[1].startswith("rows.json, entry ?: has half a character")


def test_a_row_that_is_left_out_may_have_half_a_character(folder):
    half = [{"from": "human", "value": "\ud83d"}, {"from": "gpt", "value": "A"}]
    (folder / "rows.json").write_text(json.dumps([row("image"), {"conversations": half}]))
    reader = make_format("llava", {})
    assert len(read_all(reader, Files(folder, reader.remedy, multi_image_only=True), "rows")) == 1


def test_unknown_formats_and_options_are_refused():
    assert available() == ["legacy", "llamafactory", "llava"]
    with pytest.raises(UsageError, match="there is no import format 'lava'; Did you mean 'llava'"):
        make_format("lava", {})
    with pytest.raises(UsageError, match="there is no option subset; legacy has none"):
        make_format("legacy", {"subset": "easy"})


@pytest.mark.parametrize("format_", KEYS)
def test_what_mis_export_writes_is_read_back(folder, format_):
    dataset = sample_dataset(folder, 6)
    export(dataset, format_, folder / "out", subsets=["train", "hard"], intent="all")
    before = [row for row in Source.open(dataset).rows(intent="all") if row["subset"] != "easy"]
    found = read(format_, folder / "out")
    assert sorted(
        (row.scenario.subset, row.scenario.intent, row.scenario.question, row.label.response) for row in found
    ) == sorted((row["subset"], row["intent"], row["question"], row["response"]) for row in before)
