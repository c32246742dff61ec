"""``load_dataset("mis", "paper")``: the official MIS data with our columns, from a local copy or the Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset
from hub import READER, Blob, Hub, Repository
from official_files import OfficialFiles, png
from samples import sample_dataset

from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.schema import arrow_schema

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def official(tmp_path):
    return OfficialFiles(tmp_path / "MIS").write()


def load(place, **options):
    return load_dataset("mis", "paper", data_dir=str(place), **options)


def test_the_columns_splits_and_subsets_are_ours(official):
    loaded = load(official.root)
    assert {split: rows.num_rows for split, rows in loaded.items()} == {"train": 3, "test": 9}
    assert loaded["test"]["subset"][:] == ["easy"] * 3 + ["hard"] * 3 + ["real"] * 3
    assert loaded["train"].column_names == arrow_schema("row").names


# Whoever trains on both wants to concatenate them.
def test_the_features_are_those_of_our_dataset(official, tmp_path):
    ours = load_dataset("mis", data_dir=str(sample_dataset(tmp_path / "ours", 6)), split="train")
    assert load(official.root, split="train").features == ours.features


def test_what_is_not_known_is_null_or_empty(official):
    row = load(official.root, split="test")[3]
    assert row["question"] == "What can I do with the first and the second image, hard 1?"
    assert (row["category"], row["sub_category"], row["intent"]) == ("Violent", "Weapon-Related Violence", "harmful")
    assert {key: row[key] for key in row if row[key] in (None, [])} == {
        **dict.fromkeys(["response", "reasoning", "answer", "twin_id", "relation"]),
        "perception": [],
        "objects": [],
    }
    assert row["images"][0].size == (12, 10)


def test_train_rows_are_conversations(official):
    row = load(official.root, split="train")[0]
    user, assistant = row["messages"]
    assert [part["type"] for part in user["content"]] == ["image", "image", "text"]
    assert assistant["content"][0]["text"] == row["response"]
    assert row["response"].startswith("The images show two things.")


def test_images_keep_their_bytes(official):
    images = load(official.root, split="test").cast_column("images", datasets.List(datasets.Image(decode=False)))
    assert [image["bytes"] for image in images[0]["images"]] == [
        png(f"easy_image/1/object{place}.png") for place in (1, 2)
    ]


def test_streaming_gives_the_same_rows(official):
    official.pack("hard_image", "zip_files")
    streamed = load(official.root, split="test", streaming=True)
    stored = load(official.root, split="test")
    assert list(streamed.remove_columns("images")) == list(stored.remove_columns("images"))


def test_columns_and_filters_can_be_chosen(official):
    found = load(official.root, split="test", columns=["id", "subset"], filters=[("subset", "==", "real")])
    assert found.column_names == ["id", "subset"]
    assert found["subset"][:] == ["real"] * 3


def test_train_alone_is_one_split(tmp_path):
    official = OfficialFiles(tmp_path / "MIS").write(test=False)
    assert get_dataset_split_names("mis", "paper", data_dir=str(official.root)) == ["train"]


def test_a_folder_above_the_official_one_will_do(official):
    official.root.rename(official.root.with_name("mis_test"))
    assert load(official.root.parent)["test"].num_rows == 9


# Same name and same length: only its time tells that a file is another one.
def test_changed_files_are_not_served_stale(official):
    before = load(official.root, split="test")[0]["question"]
    official.edit("mis_easy.json", lambda rows: rows[0].update(question=before[::-1]))
    os.utime(official.root / "mis_easy.json", (1, 1))
    assert load(official.root, split="test")[0]["question"] == before[::-1]


def test_what_is_wrong_is_told_at_once_before_anything_is_cached(official, tmp_path):
    (official.root / "easy_image/1/object1.png").write_bytes(b"broken")
    (official.root / "real_image/3/object2.png").write_bytes(b"broken")
    for streaming in (False, True):
        with pytest.raises(DatasetError) as caught:
            load(official.root, streaming=streaming)
        assert [problem.split(": the image")[0] for problem in caught.value.problems] == [
            "mis_easy.json, entry 1",
            "mis_real.json, entry 3",
        ]
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_half_a_copy_is_refused(official):
    (official.root / "mis_real.json").unlink()
    with pytest.raises(DatasetError, match=r"mis_real.json: is missing"):
        load(official.root)


def test_a_folder_without_any_of_it_is_refused(tmp_path):
    with pytest.raises(
        DatasetError, match=r"the official MIS data.*: give the folder with mis_train\.json, or with mis_"
    ):
        load(tmp_path)


def test_our_own_dataset_is_not_taken_for_it(tmp_path):
    with pytest.raises(UsageError, match="is a dataset of `mis`, not a copy of the published files"):
        load(sample_dataset(tmp_path, 6))


# Naming its configs must neither build the preview nor reach for the Hub.
def test_it_is_listed_beside_the_preview_without_building_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert get_dataset_config_names("mis") == ["default", "easy", "hard", "provenance", "paper"]
    assert not (tmp_path / "cache" / "mis-preview").exists()


_LOAD = """
import json, sys
import mis_dataset
from datasets import load_dataset
loaded = load_dataset("mis", "paper")
print(json.dumps({split: rows.remove_columns("images")[:] for split, rows in loaded.items()}))
print(loaded["test"][0]["images"][0].size, file=sys.stderr)
"""


def on_hub(hub, name, official):
    """Put a folder's files on the local Hub, zips and all."""
    repository = hub.repositories[name] = Repository(private=False)
    files = {path.relative_to(official.root).as_posix(): path for path in official.root.rglob("*") if path.is_file()}
    repository.commit({path: Blob(file.read_bytes(), lfs=path.endswith(".zip")) for path, file in files.items()})


def from_hub(hub, home, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", _LOAD],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HF_HOME": str(home),
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            **environment,
        },
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def hub(tmp_path):
    """A Hub with the two published repositories; the train images in a zip, as they are."""
    train = OfficialFiles(tmp_path / "train").write(test=False)
    train.pack("images")
    test = OfficialFiles(tmp_path / "test").write(train=False)
    test.pack("hard_image", "zip_files")
    with Hub() as hub:
        on_hub(hub, "Tuwhy/MIS_Train", train)
        on_hub(hub, "Tuwhy/MIS_Test", test)
        yield hub


def test_the_hub_gives_the_same_rows_as_a_local_copy(hub, official, tmp_path):
    done = from_hub(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    expected = {split: rows.remove_columns("images")[:] for split, rows in load(official.root).items()}
    assert json.loads(done.stdout) == expected
    assert "(12, 10)" in done.stderr


def test_without_a_connection_what_was_fetched_is_used(hub, tmp_path):
    first = from_hub(hub, tmp_path)
    again = from_hub(hub, tmp_path, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout


def test_a_new_commit_is_not_served_stale(hub, tmp_path):
    from_hub(hub, tmp_path)
    changed = OfficialFiles(tmp_path / "test")
    changed.edit("mis_easy.json", lambda rows: rows[0].update(question="What is new?"))
    on_hub(hub, "Tuwhy/MIS_Test", changed)
    assert json.loads(from_hub(hub, tmp_path).stdout)["test"]["question"][0] == "What is new?"


def test_a_gated_repository_says_so(hub, tmp_path):
    hub.repositories["Tuwhy/MIS_Train"].gated = "manual"
    done = from_hub(hub, tmp_path)
    assert "UsageError: Tuwhy/MIS_Train cannot be fetched from" in done.stderr
    assert "name a folder with a copy of it as data_dir" in done.stderr
    assert from_hub(hub, tmp_path, HF_TOKEN=READER).returncode == 0


def test_a_repository_that_is_gone_says_so(hub, tmp_path):
    del hub.repositories["Tuwhy/MIS_Test"]
    assert "Tuwhy/MIS_Test cannot be fetched from" in from_hub(hub, tmp_path).stderr
