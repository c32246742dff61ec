"""What a dataset's directory tells of the records that it was assembled from."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from samples import sample_dataset, sample_facts, sample_rows

from mis_dataset.assemble import assemble
from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.assemble.parquet import read_groups
from mis_dataset.assemble.readback import ReadBack
from mis_dataset.records import SUBSETS


def rows_of(dataset: Path) -> ReadBack:
    return ReadBack(dataset, read_manifest(dataset)["files"])


@pytest.fixture
def split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset in row groups of two."""
    monkeypatch.setattr("mis_dataset.assemble.parquet.MAX_GROUP_ROWS", 2)
    return sample_dataset(tmp_path, 12)


def test_all_but_the_composers_outline_and_the_paths_comes_back(tmp_path):
    rows = sample_rows(tmp_path / "images", 6)
    rows[0] = replace(rows[0], scenario=replace(rows[0].scenario, pair_id=rows[1].scenario.id))
    assemble(rows, sample_facts(rows), tmp_path / "images", tmp_path / "mis")
    told = [
        replace(
            row,
            scenario=replace(row.scenario, family="", rationale="", reply=""),
            pictures=tuple(replace(picture, path="") for picture in row.pictures),
        )
        for subset in SUBSETS
        for row in rows
        if row.scenario.subset == subset
    ]
    assert list(rows_of(tmp_path / "mis")) == told


def test_a_row_is_the_same_by_its_place(split: Path):
    rows = rows_of(split)
    assert [rows[place] for place in range(22)] == list(rows)


# What comes before it may be gigabytes.
def test_no_more_than_a_row_group_is_read_for_a_row(split: Path):
    rows = rows_of(split)
    last = rows[21]
    for path in split.rglob("train-*.parquet"):
        groups = list(read_groups(path))
        data = path.read_bytes()
        footer = 8 + int.from_bytes(data[-8:-4], "little")
        path.write_bytes(data[:4] + bytes(len(data) - 4 - footer) + data[-footer:])  # all pages gone
        assert len(groups) == 3
    assert rows[21] == last
    with pytest.raises(OSError, match=r"."):
        next(iter(rows))


def test_provenance_in_another_order_is_no_rows(split: Path):
    (path,) = split.glob("provenance/train-*.parquet")
    pq.write_table(pq.read_table(path).take([1, 0, 2, 3, 4, 5]), path)
    with pytest.raises(KeyError, match="its provenance is not in the same place"):
        list(rows_of(split))
