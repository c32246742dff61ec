import os
import pickle
import threading
from dataclasses import asdict
from pathlib import Path

import pytest
from scenarios import scenario

from mis_dataset.errors import StorageError
from mis_dataset.records import Failed, ImageSpec, Rejected, Scenario
from mis_dataset.run.arrow import arrow_type, from_row
from mis_dataset.run.shards import Item, ShardError, ShardStore, replacing


@pytest.fixture
def store(tmp_path: Path) -> ShardStore[Scenario]:
    return ShardStore("compose", tmp_path / "compose-abc", Scenario)


def test_items_come_back_as_they_were(store: ShardStore[Scenario]):
    items = [
        Item("a", scenario(1)),
        Item("b", scenario(2, twin="mis-1")),
        Item("c", Rejected("blank", "all white")),
        Item("d", Failed("timeout", "no answer")),
    ]
    store.write(0, items, "upstream")
    assert store.read(0, "upstream") == items


def test_equal_items_give_equal_bytes(store: ShardStore[Scenario]):
    store.write(0, [Item("a", scenario())], "u")
    store.write(1, [Item("a", scenario())], "u")
    assert store.digest(0) == store.digest(1)


def test_a_shard_made_from_other_input_is_not_taken_for_done(store: ShardStore[Scenario]):
    store.write(0, [Item("a", scenario())], "one")
    with pytest.raises(ShardError, match="made from other input"):
        store.read(0, "two")


@pytest.mark.parametrize("damage", [b"", b"PAR1garbage", None])
def test_a_damaged_shard_is_named(store: ShardStore[Scenario], damage: bytes | None):
    store.write(0, [Item("a", scenario())], "u")
    whole = store.path(0).read_bytes()
    store.path(0).write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(ShardError, match=r"shard-00000\.parquet is damaged"):
        store.read(0, "u")


def test_damage_is_told_alike_on_another_machine(store: ShardStore[Scenario]):
    store.write(0, [Item("a", scenario())], "u")
    store.path(0).write_bytes(b"PAR1garbage")
    with pytest.raises(ShardError, match="it is made again") as raised:
        store.read(0, "u")
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_a_missing_shard_is_not_an_error_of_its_own(store: ShardStore[Scenario]):
    with pytest.raises(FileNotFoundError):
        store.read(3, "u")


def test_a_shard_of_another_layout_is_named(store: ShardStore[Scenario]):
    ShardStore("compose", store.folder, ImageSpec).write(0, [], "u")
    with pytest.raises(ShardError, match="another layout"):
        store.read(0, "u")


def test_a_full_disk_has_a_remedy_and_leaves_nothing_half_written(tmp_path: Path):
    # The kernel itself answers "no space left on device" to whoever writes to /dev/full.
    target = tmp_path / "file"
    (tmp_path / f".file.{os.getpid()}-{threading.get_ident()}.tmp").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"no space left.*finished work is kept"), replacing(target) as temporary:
        temporary.write_bytes(b"x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_a_shard_is_said_in_the_same_way(store: ShardStore[Scenario]):
    store.folder.mkdir()
    (store.folder / f".shard-00000.parquet.{os.getpid()}-{threading.get_ident()}.tmp").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="no space left"):
        store.write(0, [Item("a", scenario())], "u")


def test_a_folder_that_is_a_file_is_named(tmp_path: Path):
    (tmp_path / "work").write_text("not a folder")
    with pytest.raises(StorageError, match="work"), replacing(tmp_path / "work" / "file") as temporary:
        temporary.write_text("x")


def test_nested_optionals_and_tuples_survive_the_way_through_arrow():
    import pyarrow as pa

    rows = [asdict(scenario(1)), asdict(scenario(2, twin="mis-1"))]
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(arrow_type(Scenario))))
    assert [from_row(Scenario, row) for row in table.to_pylist()] == [scenario(1), scenario(2, twin="mis-1")]


def test_a_type_without_an_arrow_counterpart_is_refused():
    with pytest.raises(TypeError, match="cannot hold"):
        arrow_type(complex)
