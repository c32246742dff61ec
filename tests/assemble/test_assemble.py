"""The directory as a whole: what is in it, byte for byte the same, complete or not there."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from samples import sample_dataset, sample_facts, sample_rows

from mis_dataset.assemble import assemble
from mis_dataset.errors import OutputError, StorageError


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    return sample_rows(folder, 12), folder


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _build(rows, out, **changes):
    records, images = rows
    assemble(records, replace(sample_facts(records), **changes), images, out)
    return out


def test_the_directory_has_exactly_the_promised_files(rows, tmp_path):
    assert sorted(_files(_build(rows, tmp_path / "mis"))) == [
        "README.md",
        "assets/composition.png",
        "assets/preview.png",
        "croissant.json",
        "data/test-easy-00000-of-00001.parquet",
        "data/test-hard-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
        "manifest.json",
        "provenance/test-00000-of-00001.parquet",
        "provenance/train-00000-of-00001.parquet",
        "recipe.toml",
    ]


def test_equal_input_gives_equal_bytes(rows, tmp_path):
    assert _files(_build(rows, tmp_path / "one")) == _files(_build(rows, tmp_path / "two"))


def test_rows_stay_in_their_order_and_twins_together(rows, tmp_path):
    out = _build(rows, tmp_path / "mis")
    hard = pq.read_table(out / "data" / "test-hard-00000-of-00001.parquet").to_pylist()
    assert [row["id"] for row in hard] == [row.scenario.id for row in rows[0] if row.scenario.subset == "hard"]
    assert [row["twin_id"] for row in hard[0::2]] == [row["id"] for row in hard[1::2]]


def test_provenance_has_the_rows_in_the_order_of_the_split(rows, tmp_path):
    out = _build(rows, tmp_path / "mis")
    ids = [pq.read_table(path)["id"].to_pylist() for path in sorted((out / "data").glob("test-*"))]
    provenance = pq.read_table(out / "provenance" / "test-00000-of-00001.parquet")
    assert provenance["id"].to_pylist() == [name for part in ids for name in part]


def test_images_are_published_as_they_were_drawn(rows, tmp_path):
    records, images = rows
    out = _build(rows, tmp_path / "mis")
    first = pq.read_table(out / "data" / "train-00000-of-00001.parquet").to_pylist()[0]
    expected = [(images / picture.path).read_bytes() for picture in records[0].pictures]
    assert [image["bytes"] for image in first["images"]] == expected


def test_the_recipe_is_shipped_as_written(rows, tmp_path):
    out = _build(rows, tmp_path / "mis", recipe_text="# my words\nseed = 1\n")
    assert (out / "recipe.toml").read_text() == "# my words\nseed = 1\n"


def test_photographs_make_a_config_of_their_own(rows, tmp_path):
    records, images = rows
    real = [replace(row, scenario=replace(row.scenario, subset="real")) for row in records]
    assemble(real, sample_facts(real), images, tmp_path / "mis")
    assert [path.name for path in (tmp_path / "mis" / "data").iterdir()] == ["test-real-00000-of-00001.parquet"]


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_image_is_named_with_its_row_and_nothing_is_left(tmp_path, damage):
    records = sample_rows(tmp_path / "images", 2)
    victim = tmp_path / "images" / records[1].pictures[0].path
    victim.unlink() if damage == "missing" else victim.write_bytes(b"something else")
    # The first row to show that image is the one to be named.
    row = next(row for row in records if row.pictures[0] in records[1].pictures)
    with pytest.raises(StorageError, match=rf"{victim.name}.*{row.scenario.id}"):
        assemble(records, sample_facts(records), tmp_path / "images", tmp_path / "out" / "mis")
    assert list((tmp_path / "out").iterdir()) == []


_FULL_DISK = """
import resource
import sys
from pathlib import Path
from samples import sample_facts, sample_rows
from mis_dataset.assemble import assemble
from mis_dataset.errors import StorageError

folder = Path(sys.argv[1])
rows = sample_rows(folder / "images", 6)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # no file may grow beyond this, as on a full disk
try:
    assemble(rows, sample_facts(rows), folder / "images", folder / "out" / "mis")
except StorageError as error:
    print(error)
"""


def test_when_the_disk_refuses_the_error_says_where_and_nothing_is_left(tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)],
        env={"PYTHONPATH": f"{root}:{root / 'tests'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path / "out" / "mis") in done.stdout
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unwritable_place_is_a_storage_error(rows, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        _build(rows, tmp_path / "file" / "mis")


def test_the_same_dataset_is_replaced(rows, tmp_path):
    out = _build(rows, tmp_path / "mis")
    (out / "README.md").write_text("scribbled over")
    _build(rows, out)
    assert (out / "README.md").read_text().startswith("---\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mis"]


def test_what_a_killed_build_left_behind_is_cleared(rows, tmp_path):
    (tmp_path / ".mis.partial" / "data").mkdir(parents=True)
    _build(rows, tmp_path / "mis")
    assert [path.name for path in tmp_path.iterdir()] == ["mis"]


def test_another_dataset_is_not_replaced(rows, tmp_path):
    out = _build(rows, tmp_path / "mis")
    before = _files(out)
    with pytest.raises(OutputError, match="another dataset"):
        _build(rows, out, fingerprint="0" * 64)
    assert _files(out) == before


def test_files_that_are_not_ours_are_not_deleted(rows, tmp_path):
    out = _build(rows, tmp_path / "mis")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        _build(rows, out)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_folder_of_something_else_is_refused(rows, tmp_path):
    (tmp_path / "mis").mkdir()
    (tmp_path / "mis" / "thesis.tex").touch()
    with pytest.raises(OutputError):
        _build(rows, tmp_path / "mis")


def test_an_empty_folder_is_taken(rows, tmp_path):
    (tmp_path / "mis").mkdir()
    assert (_build(rows, tmp_path / "mis") / "manifest.json").exists()


def test_the_manifest_counts_and_lists_everything(tmp_path):
    out = sample_dataset(tmp_path, 12)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["rows"] == {"train": 6, "test": 16}
    assert manifest["subsets"] == {"train": 6, "easy": 8, "hard": 8, "real": 0}
    assert manifest["twins"] == 10
    assert [quota for quota in manifest["quotas"] if quota["got"] < quota["wanted"]]
    assert manifest["files"].keys() == _files(out).keys() - {"manifest.json"}
    assert manifest["files"]["data/train-00000-of-00001.parquet"]["rows"] == 6
