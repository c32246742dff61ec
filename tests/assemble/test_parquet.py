"""The Parquet files: small row groups, bounded files, nothing that old readers trip over."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from samples import STAGES, sample_rows

from mis_dataset.assemble import columns
from mis_dataset.assemble.parquet import MAX_GROUP_ROWS, read_groups, write_parquet
from mis_dataset.errors import StorageError
from mis_dataset.schema import arrow_schema
from mis_dataset.seeds import stable_random

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return sample_rows(tmp_path_factory.mktemp("images"), 8)


def _write(folder, records, size_of=lambda record: 1):
    def to_row(record):
        return columns.row(record, [b"image" for _ in record.pictures])

    write_parquet(folder, "data/train", arrow_schema("row"), records, to_row, size_of)
    return sorted((folder / "data").iterdir())


def _write_images(folder, blobs):
    schema = pa.schema([("bytes", pa.binary())])
    write_parquet(folder, "data/train", schema, blobs, lambda blob: {"bytes": blob}, lambda blob: 1)
    return (folder / "data" / "train-00000-of-00001.parquet").read_bytes()


def test_all_rows_come_back_in_order(tmp_path, records):
    (path,) = _write(tmp_path, records)
    assert path.name == "train-00000-of-00001.parquet"
    assert pq.read_table(path)["id"].to_pylist() == [record.scenario.id for record in records]


def test_no_rows_no_file(tmp_path):
    assert _write(tmp_path, []) == []


def test_a_row_group_has_at_most_a_hundred_rows(tmp_path, records):
    (path,) = _write(tmp_path, (records * 20)[:250])
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(group).num_rows for group in range(3)] == [MAX_GROUP_ROWS, MAX_GROUP_ROWS, 50]


# What is in memory at a time is a row group, so a group of large images must have fewer rows.
def test_a_row_group_of_large_rows_is_shorter(tmp_path, records):
    (path,) = _write(tmp_path, records[:6], lambda record: 30 * MEGABYTE)
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [2, 2, 2]


def test_files_stay_below_half_a_gigabyte(tmp_path, records):
    paths = _write(tmp_path, records[:5], lambda record: 240 * MEGABYTE)
    assert [path.name for path in paths] == [f"train-0000{number}-of-00003.parquet" for number in range(3)]
    assert [pq.read_metadata(path).num_rows for path in paths] == [2, 2, 1]


def test_a_row_larger_than_a_file_may_be_is_still_written(tmp_path, records):
    assert len(_write(tmp_path, records[:2], lambda record: 900 * MEGABYTE)) == 2


# `datasets` before 4 stops at the types that later versions write into this metadata.
def test_files_carry_no_huggingface_metadata(tmp_path, records):
    (path,) = _write(tmp_path, records)
    assert b"huggingface" not in (pq.read_metadata(path).metadata or {})
    assert pq.read_schema(path).equals(arrow_schema("row"), check_metadata=True)


def test_files_have_a_page_index(tmp_path, records):
    (path,) = _write(tmp_path, records)
    column = pq.read_metadata(path).row_group(0).column(0)
    assert column.has_offset_index
    assert column.has_column_index


# Content-defined chunks: after an insertion most pages are the same bytes, so that the Hub stores only what is new.
# Whether pages fall into step again is a matter of luck on so little data, hence three tries; without content-defined
# chunks less than a tenth is kept, however often one tries.
def test_most_pages_survive_an_insertion(tmp_path):
    assert max(_share_kept(tmp_path / name, name) for name in ("one", "two", "three")) > 0.5


def _share_kept(folder, seed):
    blobs = [stable_random(seed, number).randbytes(20_000).hex().encode() for number in range(91)]
    before, after = _write_images(folder / "before", blobs[1:]), _write_images(folder / "after", blobs)
    places = range(100_000, len(before) - 100_000, len(before) // 100)
    return sum(before[place : place + 64] in after for place in places) / len(places)


# The card tells these numbers, and `validate` checks them against what it reads.
@pytest.mark.parametrize("size", [1, 40 * MEGABYTE, 300 * MEGABYTE])
@pytest.mark.parametrize("name", ["row", "provenance"])
def test_the_sizes_are_those_of_what_is_read(tmp_path, records, name, size):
    def to_row(record):
        if name == "row":
            return columns.row(record, [b"image" for _ in record.pictures])
        return columns.provenance(record, "sample", STAGES)

    sizes = write_parquet(tmp_path, "data/train", arrow_schema(name), records, to_row, lambda record: size)
    assert [tmp_path / file.path for file in sizes] == sorted((tmp_path / "data").iterdir())
    for file in sizes:
        groups = list(read_groups(tmp_path / file.path))
        assert file.rows == sum(group.num_rows for group in groups)
        assert file.data_bytes == sum(group.nbytes for group in groups)
        assert file.file_bytes == (tmp_path / file.path).stat().st_size


def test_what_goes_wrong_with_a_row_is_raised(tmp_path, records):
    def to_row(record):
        raise StorageError("the image is gone")

    with pytest.raises(StorageError, match="gone"):
        write_parquet(tmp_path, "data/train", arrow_schema("row"), records, to_row, lambda record: 1)
