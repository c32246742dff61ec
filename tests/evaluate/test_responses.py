"""Answers that were given elsewhere: the published scripts' files in all their variants, and answers to our own rows."""

import json
from pathlib import Path

import pytest
from benchmark_copies import image
from samples import sample_dataset

from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.evaluate.cases import Source
from mis_dataset.evaluate.responses import read_responses


def published(number: int, subset: str = "hard", **facts) -> dict:
    """A row as the published scripts write it."""
    paths = {f"image_path{place}": f"{subset}_image/{number}/object{place}.png" for place in (1, 2)}
    row = {
        "id": number,
        "question": f"What of these {number}?",
        "category": "Privacy",
        "sub_category": "Identity Theft",
    }
    return {**row, **paths, "response": f"Answer {number}."} | facts


def draw(folder: Path, *rows: dict) -> None:
    """The images of these rows; each has a colour of its own."""
    for row in rows:
        for place in (1, 2):
            image(folder / row[f"image_path{place}"], shade=10 * row.get("id", 0) + place)


def write(path: Path, *rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def problems(*arguments, **options) -> list[str]:
    with pytest.raises(DatasetError) as raised:
        read_responses(*arguments, **options)
    return raised.value.problems


def test_a_published_row_is_read_with_its_images_in_order(tmp_path):
    row = published(7)
    draw(tmp_path, row)
    [case] = read_responses(write(tmp_path / "model.jsonl", row))
    assert (case.row.id, case.row.intent, case.row.response) == ("hard/7", "harmful", "Answer 7.")
    assert (case.row.subset, case.row.category, case.row.sub_category) == ("hard", "Privacy", "Identity Theft")
    assert (case.row.relation, case.row.twin_id, case.row.images, case.objects) == ("", None, 2, ())
    assert case.question == "What of these 7?"
    assert case.load_images() == [(tmp_path / f"hard_image/7/object{place}.png").read_bytes() for place in (1, 2)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", ["", "\ufeff", "\n "])
def test_a_json_list_reads_as_jsonl_does(tmp_path, indent, before):
    rows = [published(1), published(2)]
    draw(tmp_path, *rows)
    lines = read_responses(write(tmp_path / "model.jsonl", *rows))
    (tmp_path / "model.json").write_text(before + json.dumps(rows, indent=indent), encoding="utf-8")
    listed = read_responses(tmp_path / "model.json")
    assert [(case.row, case.question) for case in listed] == [(case.row, case.question) for case in lines]


def test_without_ids_the_position_stands_for_it(tmp_path):
    rows = [published(5), published(6)]
    draw(tmp_path, *rows)
    for row in rows:
        del row["id"]
    assert [case.row.id for case in read_responses(write(tmp_path / "a.jsonl", *rows))] == ["hard/1", "hard/2"]


def test_rows_of_two_test_files_are_told_apart(tmp_path):
    # Ids start anew in every published file.
    rows = [published(1, "easy"), published(1, "real")]
    draw(tmp_path, *rows)
    cases = read_responses(write(tmp_path / "a.jsonl", *rows))
    assert [(case.row.id, case.row.subset) for case in cases] == [("easy/1", "easy"), ("real/1", "real")]


@pytest.mark.parametrize("named", ["", "./", "mis_test/", "MIS-test/", "zip_files/", "MIS-test/zip_files/"])
@pytest.mark.parametrize("lies", ["", "mis_test", "MIS-test", "zip_files"])
def test_every_name_of_the_folder_will_do(tmp_path, named, lies):
    row = published(3)
    draw(tmp_path / "images" / lies, row)
    expected = [(tmp_path / "images" / lies / row[f"image_path{place}"]).read_bytes() for place in (1, 2)]
    prefixed = row | {f"image_path{place}": named + row[f"image_path{place}"] for place in (1, 2)}
    [case] = read_responses(write(tmp_path / "a.jsonl", prefixed), images=tmp_path / "images")
    assert case.load_images() == expected
    assert case.row.id == "hard/3"


def test_an_empty_answer_is_an_answer(tmp_path):
    row = published(1, response="")
    draw(tmp_path, row)
    [case] = read_responses(write(tmp_path / "a.jsonl", row))
    assert case.row.response == ""


def test_a_third_image_is_taken(tmp_path):
    row = published(1, image_path3="hard_image/1/object3.png")
    draw(tmp_path, row)
    image(tmp_path / row["image_path3"])
    [case] = read_responses(write(tmp_path / "a.jsonl", row))
    assert (case.row.images, len(case.load_images())) == (3, 3)


def test_all_problems_are_listed_with_their_row(tmp_path):
    good = published(1)
    draw(tmp_path, good, published(4), published(5), published(8))
    image(tmp_path.parent / "outside.png")
    rows = [
        good,
        published(2),
        published(3, image_path2="../outside.png", image_path1=str(tmp_path / "hard_image/1/object1.png")),
        {key: value for key, value in published(4).items() if key != "response"},
        published(5, question=" ", response=None),
        good,
        "text",
        published(8, id=8.5),
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    found = [problem.removeprefix("a.json, entry ").partition(";")[0] for problem in problems(tmp_path / "a.json")]
    assert found == [
        f"2: the image hard_image/2/object1.png is not below {tmp_path}",
        f"2: the image hard_image/2/object2.png is not below {tmp_path}",
        f"3: {tmp_path}/hard_image/1/object1.png leads out of {tmp_path}",
        f"3: ../outside.png leads out of {tmp_path}",
        "4: has no response",
        "5: has no response",
        "5: has no question",
        "6: there is another row hard/1",
        "7: is not an object",
        "8: its id is 8.5",
    ]


def test_an_image_may_not_be_left_out(tmp_path):
    row = published(1)
    draw(tmp_path, row)
    del row["image_path2"]
    [problem] = problems(write(tmp_path / "a.jsonl", row))
    assert problem.startswith("a.jsonl, entry 1: has no image_path2")


@pytest.mark.parametrize("text", ["[{]", '{"id": 1\n'])
def test_a_broken_file_is_a_dataset_error(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DatasetError, match="JSON"):
        read_responses(tmp_path / "a.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe"])
def test_a_file_without_rows_is_a_usage_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.json"):
        read_responses(tmp_path / "a.json")


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_responses(tmp_path / "a.json")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return sample_dataset(tmp_path_factory.mktemp("sample"), families=9)


def test_answers_to_our_own_rows_need_only_their_ids(tmp_path, dataset):
    asked = Source.of(str(dataset)).cases()[::-1][:3]
    rows = [{"id": case.row.id, "response": f"Answer {place}."} for place, case in enumerate(asked)]
    cases = read_responses(write(tmp_path / "a.jsonl", *rows), data=str(dataset))
    assert [case.row.response for case in cases] == ["Answer 0.", "Answer 1.", "Answer 2."]
    for case, row in zip(cases, asked, strict=True):
        assert (case.row.id, case.row.intent, case.row.twin_id) == (row.row.id, row.row.intent, row.row.twin_id)
        assert (case.question, case.objects, case.load_images()) == (row.question, row.objects, row.load_images())


def test_answers_to_rows_that_are_not_there_are_listed(tmp_path, dataset):
    name = Source.of(str(dataset)).cases()[0].row.id
    rows = [
        {"id": "nobody", "response": "A."},
        {"id": name, "response": "B."},
        {"id": name, "response": "C."},
        {"id": 3},
    ]
    found = [line.partition(";")[0] for line in problems(write(tmp_path / "a.jsonl", *rows), data=str(dataset))]
    assert found == [
        "a.jsonl, entry 1: sample has no test row nobody",
        f"a.jsonl, entry 3: there is another row {name}",
        "a.jsonl, entry 4: has no id",
        "a.jsonl, entry 4: has no response",
    ]


# A results.json, say: a complaint about each of its thousand lines would help nobody.
def test_one_large_object_is_neither_jsonl_nor_a_list(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"rows": [1, 2]}, indent=2))
    with pytest.raises(UsageError, match="is neither JSONL nor a JSON list"):
        read_responses(tmp_path / "results.json")
