"""The legacy layout: what published clients read, and what comes back from it."""

import json
import logging

import pyarrow.parquet as pq
import pytest
from recipes import contents
from samples import sample_dataset

from mis_dataset.errors import UsageError
from mis_dataset.evaluate.responses import read_responses
from mis_dataset.formats import export, plan_export
from mis_dataset.intake import import_dataset
from mis_dataset.pipeline import build_preview
from mis_dataset.validation import validate


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return sample_dataset(tmp_path_factory.mktemp("dataset"), 18)


@pytest.fixture(scope="module")
def preview(tmp_path_factory):
    """The embedded preview: built as users build it, with two to four images a row."""
    return build_preview(tmp_path_factory.mktemp("preview") / "mis")


def rows_of(directory, subset):
    stem = "train" if subset == "train" else f"test-{subset}"
    return [row for path in sorted(directory.glob(f"data/{stem}-*")) for row in pq.read_table(path).to_pylist()]


def harmful(directory, subset):
    return [row for row in rows_of(directory, subset) if row["intent"] == "harmful"]


def entries(out, file):
    return json.loads((out / file).read_text())


def test_the_test_files_are_arrays_of_rows_with_whole_ids_and_paths(dataset, tmp_path):
    export(dataset, "legacy", tmp_path / "out")
    found = entries(tmp_path / "out", "mis_test/mis_hard.json")
    expected = [row for row in harmful(dataset, "hard") if len(row["images"]) == 2]
    assert [entry["question"] for entry in found] == [row["question"] for row in expected]
    assert [entry["id"] for entry in found] == list(range(1, len(expected) + 1))
    # One spelling of each key: a client that finds two sends both images twice.
    assert {tuple(entry) for entry in found} == {
        ("id", "question", "category", "sub_category", "image_path1", "image_path2")
    }
    assert found[0]["image_path2"] == "hard_image/1/object2.png"
    for place in (1, 2):
        written = (tmp_path / "out/mis_test" / found[0][f"image_path{place}"]).read_bytes()
        assert written == expected[0]["images"][place - 1]["bytes"]


def test_a_subset_without_rows_is_an_empty_array(dataset, tmp_path):
    export(dataset, "legacy", tmp_path / "out")
    assert entries(tmp_path / "out", "mis_test/mis_real.json") == []


def test_the_train_file_is_there_with_both_keys(dataset, tmp_path):
    export(dataset, "legacy", tmp_path / "out")
    found = entries(tmp_path / "out", "mis_train/mis_train.json")
    expected = harmful(dataset, "train")
    assert len(found) == len(expected)
    assert {len(entry["image"]) for entry in found} == {2, 3}
    entry, row = found[0], expected[0]
    assert list(entry) == ["id", "category", "sub_category", "image", "conversations"]
    assert entry["conversations"] == [
        {"from": "human", "value": "<image>\n<image>\n" + row["question"]},
        {"from": "gpt", "value": row["response"]},
    ]
    again = entries(tmp_path / "out", "mis_train/mis_train_llamafactory.json")
    assert [{("image" if key == "images" else key): entry[key] for key in entry} for entry in again] == found
    assert "images" in again[0]


def test_another_export_gives_the_same_bytes(dataset, tmp_path):
    for name in ("one", "two"):
        export(dataset, "legacy", tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


# Published clients send two images; with three, the question would name one that is not there.
def test_rows_with_more_than_two_images_are_left_out_of_the_test_files_and_counted(dataset, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "mis_dataset"):
        export(dataset, "legacy", tmp_path / "out")
    more = sum(len(row["images"]) > 2 for subset in ("easy", "hard") for row in harmful(dataset, subset))
    assert f"{more} test rows with more than 2 images stay out; the option max_images=4 takes them along" in caplog.text


def test_a_plan_counts_what_is_written(dataset, tmp_path):
    plan = export(dataset, "legacy", tmp_path / "out")
    for subset, file in (
        ("easy", "mis_test/mis_easy"),
        ("hard", "mis_test/mis_hard"),
        ("train", "mis_train/mis_train"),
    ):
        assert plan.counts[subset].rows == len(entries(tmp_path / "out", f"{file}.json"))
    assert sum(counts.images for counts in plan.counts.values()) == len(list((tmp_path / "out").rglob("*.png")))


# Asked for benign rows as well, one would get those with two images only.
def test_benign_rows_with_too_many_images_do_not_count_as_left_out_for_their_intent(dataset, tmp_path):
    fitting = {
        intent: plan_export(dataset, "legacy", tmp_path / "out", intent=intent).rows for intent in ("harmful", "all")
    }
    assert plan_export(dataset, "legacy", tmp_path / "out").left_out == fitting["all"] - fitting["harmful"]


def test_an_export_is_refused_if_all_rows_have_too_many_images(changed, tmp_path):
    directory = changed(lambda row: [row] if len(row["images"]) > 2 else [])
    with pytest.raises(UsageError, match="nothing to export: 3 test rows with more than 2 images stay out"):
        plan_export(directory, "legacy", tmp_path / "out", subsets=["hard"])


def test_they_can_be_asked_for(dataset, tmp_path, caplog):
    export(dataset, "legacy", tmp_path / "out", {"max_images": 4})
    found = entries(tmp_path / "out", "mis_test/mis_easy.json")
    assert len(found) == len(harmful(dataset, "easy"))
    assert {"image_path4" in entry for entry in found} == {True, False}
    assert caplog.text == ""


def test_harmful_rows_only_unless_asked_and_then_each_says_its_intent(dataset, tmp_path):
    export(dataset, "legacy", tmp_path / "all", {"max_images": 4}, intent="all")
    found = entries(tmp_path / "all", "mis_test/mis_hard.json")
    assert [entry["intent"] for entry in found] == [row["intent"] for row in rows_of(dataset, "hard")]


def test_one_subset_alone(dataset, tmp_path):
    export(dataset, "legacy", tmp_path / "out", subsets=["train"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mis_train"]


def test_an_impossible_number_of_images_is_refused(dataset, tmp_path):
    with pytest.raises(UsageError, match="max_images"):
        export(dataset, "legacy", tmp_path / "out", {"max_images": 1})


# What the scripts of the paper do: copy a row, add the answer.
def test_answers_to_its_rows_can_be_judged(dataset, tmp_path):
    export(dataset, "legacy", tmp_path / "out")
    folder = tmp_path / "out" / "mis_test"
    answered = [{**entry, "response": "No."} for entry in entries(folder, "mis_hard.json")]
    (tmp_path / "answers.json").write_text(json.dumps(answered))
    cases = read_responses(tmp_path / "answers.json", images=folder)
    assert [case.row.subset for case in cases] == ["hard"] * len(answered)
    assert len(cases[0].load_images()) == 2


KEPT = ("question", "response", "category", "sub_category", "subset", "intent")


@pytest.mark.parametrize("intent", ["harmful", "all"])
@pytest.mark.parametrize("built", ["dataset", "preview"])
def test_nothing_that_the_layout_can_hold_is_lost_on_the_way_back(built, intent, tmp_path, request):
    directory = request.getfixturevalue(built)
    export(directory, "legacy", tmp_path / "legacy", {"max_images": 4}, intent=intent)
    import_dataset("legacy", tmp_path / "legacy", tmp_path / "back")
    assert validate(tmp_path / "back") == []
    for subset in ("train", "easy", "hard", "real"):
        expected = harmful(directory, subset) if intent == "harmful" else rows_of(directory, subset)
        found = rows_of(tmp_path / "back", subset)
        assert len(found) == len(expected)
        for row, before in zip(found, expected, strict=True):
            # Test files have no place for labels.
            known = {key: before[key] for key in KEPT if key != "response" or subset == "train"}
            assert {key: row[key] for key in known} == known
            assert [image["bytes"] for image in row["images"]] == [image["bytes"] for image in before["images"]]
            if subset == "train":
                assert row["messages"] == before["messages"]


def test_what_came_back_is_exported_to_the_same_bytes(dataset, tmp_path):
    export(dataset, "legacy", tmp_path / "once")
    import_dataset("legacy", tmp_path / "once", tmp_path / "back")
    export(tmp_path / "back", "legacy", tmp_path / "twice")
    assert contents(tmp_path / "twice") == contents(tmp_path / "once")


# Its train folder has the same rows with the key of LLaVA and with that of LLaMA-Factory, each for its own tool.
@pytest.mark.parametrize("trainer", ["llava", "llamafactory"])
def test_trainers_find_their_rows_in_the_train_folder(trainer, dataset, tmp_path):
    export(dataset, "legacy", tmp_path / "legacy")
    import_dataset(trainer, tmp_path / "legacy" / "mis_train", tmp_path / "back")
    kept = ("question", "response", "category", "sub_category")
    told = [[row[key] for key in kept] for row in rows_of(tmp_path / "back", "train")]
    assert told == [[row[key] for key in kept] for row in harmful(dataset, "train")]
