"""``load_dataset("mis")`` after ``import mis_dataset``: from any folder, the right dataset, never a stale one."""

import importlib.metadata
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset
from samples import sample_dataset, sample_facts, sample_rows

import mis_dataset
from mis_dataset.assemble import assemble
from mis_dataset.errors import DatasetError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder in which a dataset was built as ``mis``."""
    folder = tmp_path_factory.mktemp("built")
    sample_dataset(folder, 12)
    return folder


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    """One cache for the tests that need the preview, which takes some seconds to build."""
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def preview(shared_cache, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", shared_cache)


def _python(code, folder, **env):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "hf"), **env},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_dataset_built_here_is_found(built, monkeypatch):
    monkeypatch.chdir(built)
    loaded = load_dataset("mis")
    assert {split: rows.num_rows for split, rows in loaded.items()} == {"train": 6, "test": 16}
    assert loaded["train"][0]["images"][0].size == (48, 48)


def test_a_dataset_built_elsewhere_is_found(built, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_dataset("mis", data_dir=str(built / "mis"))["train"].num_rows == 6
    assert load_dataset("mis", "hard", data_dir=os.path.relpath(built / "mis"))["test"].num_rows == 8


def test_each_config_has_its_rows(built, monkeypatch):
    monkeypatch.chdir(built)
    for subset in ("easy", "hard"):
        assert set(load_dataset("mis", subset, split="test")["subset"]) == {subset}
    provenance = load_dataset("mis", "provenance", split="train")
    assert provenance["id"][:] == load_dataset("mis", split="train")["id"][:]


def test_configs_and_splits_can_be_asked_for(built, monkeypatch):
    monkeypatch.chdir(built)
    assert get_dataset_config_names("mis") == ["default", "easy", "hard", "provenance", "paper"]
    assert get_dataset_split_names("mis", "default") == ["train", "test"]
    assert get_dataset_split_names("mis", "hard") == ["test"]


def test_streaming_gives_the_same_rows(built, monkeypatch):
    monkeypatch.chdir(built)
    streamed = load_dataset("mis", "hard", split="test", streaming=True)
    assert list(streamed.remove_columns("images")) == list(
        load_dataset("mis", "hard", split="test").remove_columns("images")
    )


def test_columns_can_be_chosen(built, monkeypatch):
    monkeypatch.chdir(built)
    assert load_dataset("mis", split="train", columns=["id", "question"]).column_names == ["id", "question"]


# Without the package, a folder of Parquet files and a card; with it, the same files: the rows must be the same.
def test_rows_are_those_of_the_plain_directory(built, monkeypatch):
    monkeypatch.chdir(built)
    ours, plain = load_dataset("mis"), load_dataset(str(built / "mis"))
    assert ours["test"].features == plain["test"].features
    for split in ("train", "test"):
        assert ours[split].remove_columns("images")[:] == plain[split].remove_columns("images")[:]


def test_a_rebuilt_dataset_is_not_served_stale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = sample_rows(tmp_path / "images", 12)
    facts = sample_facts(rows)
    assemble(rows, facts, tmp_path / "images", tmp_path / "mis")
    before = load_dataset("mis", split="train")["answer"][0]
    # Same fingerprint, number of rows and length of text: only the digests in the manifest tell the builds apart.
    changed = [replace(row, label=replace(row.label, answer=row.label.answer[::-1])) for row in rows]
    assemble(changed, facts, tmp_path / "images", tmp_path / "mis")
    assert load_dataset("mis", split="train")["answer"][0] == before[::-1]


def test_two_folders_do_not_share_a_cache_entry(built, tmp_path, monkeypatch):
    sample_dataset(tmp_path, 6)
    monkeypatch.chdir(built)
    assert load_dataset("mis", split="train").num_rows == 6
    monkeypatch.chdir(tmp_path)
    assert load_dataset("mis", split="train").num_rows == 3


def test_a_data_dir_that_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="is not a dataset"):
        load_dataset("mis", data_dir=str(tmp_path))


@pytest.mark.parametrize("is_named", [False, True])
def test_a_dataset_of_a_later_version_is_refused_and_the_preview_no_stand_in(tmp_path, monkeypatch, is_named):
    manifest = json.loads((sample_dataset(tmp_path, 6) / "manifest.json").read_text())
    (tmp_path / "mis" / "manifest.json").write_text(json.dumps({**manifest, "format": 2, "new": []}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"mis was written by a later version(.|\n)*pip install --upgrade") as caught:
        load_dataset("mis", data_dir="mis" if is_named else None)
    assert len(caught.value.problems) == 1


@pytest.mark.usefixtures("preview")
def test_in_an_empty_folder_the_preview_is_loaded_and_said_to_be(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING, "mis_dataset"):
        loaded = load_dataset("mis")
    assert loaded["train"].num_rows > 0
    assert "embedded preview" in caplog.text


# The stock loader would take these for the data.
@pytest.mark.usefixtures("preview")
def test_files_that_lie_about_do_not_matter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    (tmp_path / "mis").mkdir()
    (tmp_path / "mis" / "thesis.txt").write_text("Chapter 1")
    assert set(load_dataset("mis", "hard")["test"]["subset"]) == {"hard"}


@pytest.mark.usefixtures("preview")
def test_the_preview_is_built_once(tmp_path, monkeypatch, shared_cache):
    monkeypatch.chdir(tmp_path)
    load_dataset("mis", "hard")
    (manifest,) = shared_cache.glob("mis-preview/*/mis/manifest.json")
    before = manifest.stat().st_mtime_ns
    load_dataset("mis", "easy")
    assert manifest.stat().st_mtime_ns == before
    assert {path.name for path in manifest.parents[1].iterdir()} <= {"mis", "mis.lock"}


def test_other_datasets_load_as_before(tmp_path):
    (tmp_path / "some.csv").write_text("a,b\n1,2\n")
    assert load_dataset("csv", data_files=str(tmp_path / "some.csv"), split="train")[0] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "imports",
    [
        "import mis_dataset; import datasets",
        "import datasets; import mis_dataset",
        "import mis_dataset.records, datasets",
    ],
)
def test_the_order_of_imports_does_not_matter(built, imports):
    assert _python(f"{imports}; print(datasets.load_dataset('mis', split='train').num_rows)", built).endswith("6\n")


def test_the_package_alone_imports_nothing_heavy(tmp_path):
    code = (
        "import sys, mis_dataset; print(sorted({'torch', 'diffusers', 'transformers', 'openai'} & sys.modules.keys()))"
    )
    assert _python(code, tmp_path) == "[]\n"


_WATCHED = """
import socket
calls = []
socket.socket.connect = lambda self, address: calls.append(address)
socket.getaddrinfo = lambda *names, **_: calls.append(names)
import mis_dataset, datasets
rows = datasets.load_dataset("mis", split="train").num_rows
print(rows, calls)
"""


# The stock loader reports every use of a packaged dataset to the Hub.
def test_loading_reaches_for_no_network(built):
    assert _python(_WATCHED, built).endswith("6 []\n")


def test_the_version_is_that_of_the_project():
    assert importlib.metadata.version("mis-dataset") == mis_dataset.__version__
