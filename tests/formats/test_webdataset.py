"""Shards as WebDataset reads them: its own reader where it is installed, the rule of the format always."""

import io
import json
import tarfile
from itertools import groupby
from pathlib import Path

import pytest
from PIL import Image


def samples(shard: Path) -> list[tuple[str, dict[str, bytes]]]:
    """The format's rule: files that follow one another and agree up to the first dot are a sample."""
    with tarfile.open(shard) as tar:
        files = [(*member.name.split(".", 1), tar.extractfile(member).read()) for member in tar]
    return [(key, {part: data for _, part, data in group}) for key, group in groupby(files, key=lambda file: file[0])]


def test_a_row_is_a_sample(exported, rows):
    folder = exported("webdataset")
    for subset in ("train", "easy", "hard"):
        expected = [row for row in rows if row["subset"] == subset]
        found = samples(folder / f"mis-{subset}-000000.tar")
        assert [key for key, _ in found] == [row["id"] for row in expected]
        for (_, parts), row in zip(found, expected, strict=True):
            names = [f"{place}.png" for place in range(1, len(row["images"]) + 1)]
            assert list(parts) == ["json", *names]
            assert [parts[name] for name in names] == [image["bytes"] for image in row["images"]]
            assert json.loads(parts["json"]) == {key: row[key] for key in row if key != "images"}


def test_shards_have_so_many_rows_at_most(exported):
    folder = exported("webdataset", shard_rows=5)
    shards = sorted(path.name for path in folder.glob("mis-easy-*"))
    assert shards == ["mis-easy-000000.tar", "mis-easy-000001.tar", "mis-easy-000002.tar"]
    assert [len(samples(folder / shard)) for shard in shards] == [5, 5, 2]


def test_no_shard_is_empty(exported):
    # 9 rows of train fill three shards exactly.
    folder = exported("webdataset", shard_rows=3)
    assert [len(samples(shard)) for shard in sorted(folder.glob("mis-train-*"))] == [3, 3, 3]


def test_its_own_reader_reads_it(exported, rows):
    webdataset = pytest.importorskip("webdataset")
    found = []
    for shard in sorted(exported("webdataset", shard_rows=5).glob("mis-hard-*")):
        # What `WebDataset(shard)` does, but for opening the file, which it leaves open.
        with shard.open("rb") as stream:
            files = webdataset.tariterators.tar_file_expander([{"url": str(shard), "stream": stream}])
            found += webdataset.tariterators.group_by_keys(files)
    decode = webdataset.autodecode.Decoder([webdataset.autodecode.imagehandler("pil")])
    expected = [row for row in rows if row["subset"] == "hard"]
    assert [sample["__key__"] for sample in found] == [row["id"] for row in expected]
    for sample, row in zip(map(decode, found), expected, strict=True):
        assert sample["json"]["question"] == row["question"]
        for place, image in enumerate(row["images"], 1):
            true = Image.open(io.BytesIO(image["bytes"])).convert("RGB")
            assert sample[f"{place}.png"].tobytes() == true.tobytes()


@pytest.mark.parametrize("most", [10**22, 500.0])
def test_the_limit_may_be_any_whole_number(most, exported):
    assert len(list(exported("webdataset", shard_rows=most).iterdir())) == 3
