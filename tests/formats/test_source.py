"""What formats are given: the rows of a dataset, streamed."""

import gc
import io
import json
import random
import shutil
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.formats.source import TESTING, TRAINING, Source
from mis_dataset.schema import arrow_schema

# Counts what Arrow takes while it is in use; has to outlive all of that.
POOL = pa.proxy_memory_pool(pa.default_memory_pool())


def test_rows_come_in_the_datasets_order(dataset: Path):
    stored = [
        row
        for file in ("train", "test-easy", "test-hard")
        for row in pq.read_table(next((dataset / "data").glob(f"{file}-*"))).to_pylist()
    ]
    assert list(Source.open(dataset).rows(intent="all")) == stored


def test_harmful_rows_only_unless_asked(dataset: Path):
    source = Source.open(dataset)
    assert {row["intent"] for row in source.rows()} == {"harmful"}
    assert {row["intent"] for row in source.rows(intent="all")} == {"harmful", "benign"}
    assert list(source.only(source.subsets, "all").rows()) == list(source.rows(intent="all"))


def test_images_are_encoded_bytes(dataset: Path):
    row = next(Source.open(dataset).rows())
    assert [Image.open(io.BytesIO(image["bytes"])).format for image in row["images"]] == ["PNG", "PNG"]


def test_only_subsets_with_rows_are_there(dataset: Path):
    source = Source.open(dataset)
    assert (source.name, source.subsets) == ("sample", ("train", "easy", "hard"))
    assert [source.split(subset) for subset in source.subsets] == ["train", "test", "test"]
    assert {row["subset"] for row in source.rows("hard")} == {"hard"}


def test_a_part_is_in_the_datasets_order(dataset: Path):
    assert Source.open(dataset).only(["hard", "train"]).subsets == ("train", "hard")


def test_a_subset_without_rows_is_named(dataset: Path):
    with pytest.raises(UsageError, match="no rows in the subset 'real'; it has train, easy, hard"):
        next(Source.open(dataset).rows("real"))


def test_trainers_and_evaluators_take_different_sides(dataset: Path):
    source = Source.open(dataset)
    assert TRAINING.subsets(source) == ("train",)
    assert TESTING.subsets(source) == ("easy", "hard")


def test_a_trainer_never_falls_back_on_test_rows(dataset: Path):
    with pytest.raises(UsageError, match="has no train rows; name the subsets"):
        TRAINING.subsets(Source.open(dataset).only(["hard"]))


def test_counts_are_those_of_the_rows(dataset: Path, rows):
    counts = Source.open(dataset).counts()
    for subset in ("train", "easy", "hard"):
        members = [row for row in rows if row["subset"] == subset]
        harmful = [row for row in members if row["intent"] == "harmful"]
        assert counts[subset].rows == len(harmful)
        assert counts[subset].left_out == len(members) - len(harmful) > 0
        assert counts[subset].images == sum(len(row["images"]) for row in harmful)


def test_test_rows_may_be_limited_to_a_number_of_images(dataset: Path, rows):
    source = Source.open(dataset).only(["train", "hard"], "all", most_images=2)
    expected = [
        row for row in rows if row["subset"] == "train" or (row["subset"] == "hard" and len(row["images"]) <= 2)
    ]
    assert list(source.rows()) == expected
    counts = source.counts()
    assert sum(count.rows for count in counts.values()) == len(expected)
    assert (counts["train"].too_many_images, counts["hard"].too_many_images) == (0, 6)


def test_two_rows_with_one_id_are_refused(changed, rows):
    twice = rows[3]["id"]
    directory = changed(lambda row: [row, row] if row["id"] == twice else [row])
    with pytest.raises(DatasetError) as caught:
        Source.open(directory).counts()
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{twice}: 2 rows")


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="is not a dataset"):
        Source.open(tmp_path)


def test_a_dataset_from_the_future_is_refused(dataset: Path, tmp_path: Path):
    manifest = json.loads((dataset / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "format": 2, "new": "unknown today"}))
    with pytest.raises(
        DatasetError, match=r"later version(.|\n)*format is 2, and this version knows 1; pip install --upgrade"
    ):
        Source.open(tmp_path)


def test_files_that_are_gone_are_named(dataset: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    gone = next((copy / "data").glob("train-*"))
    gone.unlink()
    with pytest.raises(DatasetError, match=f"data/{gone.name} is missing"):
        Source.open(copy)


def test_a_damaged_file_is_named(dataset: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    path = next((copy / "data").glob("train-*"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=f"data/{path.name}"):
        list(Source.open(copy).rows())


def test_other_columns_are_refused(dataset: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    path = next((copy / "data").glob("train-*"))
    pq.write_table(pq.read_table(path).drop_columns(["twin_id"]), path)
    with pytest.raises(DatasetError, match="it has no twin_id"):
        list(Source.open(copy).rows())


def retyped(dataset: Path, copy: Path, column: str, values: pa.Array) -> Path:
    """The dataset with another column in its train rows."""
    shutil.copytree(dataset, copy)
    path = next((copy / "data").glob("train-*"))
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.names.index(column), column, values), path)
    return copy


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("question", pa.array(range(9)), "the column question is int64, and should be string; cast it"),
        (
            "images",
            pa.array([["a.png"]] * 9),
            r"the column images is list<\w+: string>, and should be list<element: str",
        ),
        ("objects", pa.array(["cup"] * 9), "the column objects is string, and should be list<element: string>"),
    ],
)
def test_columns_of_other_types_are_refused(column: str, values: pa.Array, message: str, dataset: Path, tmp_path: Path):
    copy = retyped(dataset, tmp_path / "copy", column, values)
    with pytest.raises(DatasetError, match=rf"data/train-\S+: {message}"):
        list(Source.open(copy).rows())


def test_images_of_another_type_cannot_be_counted(dataset: Path, tmp_path: Path):
    copy = retyped(dataset, tmp_path / "copy", "images", pa.array([["a.png"]] * 9))
    with pytest.raises(DatasetError, match="the column images is"):
        Source.open(copy).counts()


# As Polars and pandas write them.
@pytest.mark.parametrize("type_", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_may_be_stored_in_other_ways(type_: pa.DataType, dataset: Path, tmp_path: Path, rows):
    texts = pa.array([row["category"] for row in rows if row["subset"] == "train"]).cast(type_)
    assert list(Source.open(retyped(dataset, tmp_path / "copy", "category", texts)).rows(intent="all")) == rows


def test_null_is_found_in_a_long_list_too(dataset: Path, tmp_path: Path):
    image = arrow_schema("row").field("images").type.value_type
    values = pa.array([[None, None]] * 9, pa.large_list(pa.field("element", image)))
    with pytest.raises(DatasetError, match="null among its images"):
        Source.open(retyped(dataset, tmp_path / "copy", "images", values)).counts()


def test_a_few_rows_are_in_memory_at_a_time(changed):
    dice = random.Random(7)

    def noise() -> bytes:
        buffer = io.BytesIO()
        Image.frombytes("RGB", (160, 160), dice.randbytes(160 * 160 * 3)).save(buffer, "PNG", compress_level=0)
        return buffer.getvalue()

    def blown_up(row):
        images = [{**image, "bytes": noise()} for image in row["images"]]
        return [{**row, "id": f"{row['id']}-{copy}", "images": images} for copy in range(12)]

    source = Source.open(changed(blown_up))
    stored = sum(path.stat().st_size for path in (source.directory / "data").iterdir())
    gc.collect()
    before = pa.default_memory_pool()
    pa.set_memory_pool(POOL)
    tracemalloc.start()
    try:
        read = sum(len(image["bytes"]) for row in source.rows(intent="all") for image in row["images"])
        in_python = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    # Four rows of at most four images are read together, and a page or two of each file.
    row_bytes = 4 * 160 * 160 * 3
    assert in_python < 6 * row_bytes
    assert POOL.max_memory() < 20 * row_bytes
    assert read > 60 * row_bytes
    assert stored > 6 * row_bytes
