"""A stage's records as one sequence, a shard at a time."""

from pathlib import Path

import pytest
from scenarios import scenario

from mis_dataset.records import Rejected, Scenario
from mis_dataset.run.rows import Rows
from mis_dataset.run.shards import Item, ShardStore
from mis_dataset.run.stage import Shards

SHARDS = ([0, None, 1], [None], [2, 3, 4], [5])
"""The numbers of the scenarios of each shard; None for one that was rejected."""


@pytest.fixture
def rounds(tmp_path: Path) -> list[Shards[Scenario]]:
    """Two rounds of two shards."""
    found = []
    for name, shards in (("first", SHARDS[:2]), ("second", SHARDS[2:])):
        store = ShardStore("compose", tmp_path / name, Scenario)
        for number, members in enumerate(shards):
            outcomes = [Rejected("blank", "") if one is None else scenario(one) for one in members]
            store.write(number, [Item(f"item-{place}", one) for place, one in enumerate(outcomes)], "upstream")
        found.append(Shards(store, ("upstream",) * len(shards)))
    return found


def test_the_accepted_records_of_all_rounds_follow_one_another(rounds: list[Shards[Scenario]]):
    assert list(Rows(rounds)) == [scenario(number) for number in range(6)]
    assert (len(Rows(rounds)), len(Rows([]))) == (6, 0)


@pytest.mark.parametrize("order", [range(6), (5, 0, 3, 1, 4, 2)])
def test_any_record_can_be_had_by_its_place(rounds: list[Shards[Scenario]], order: range | tuple[int, ...]):
    rows = Rows(rounds)
    assert [rows[place] for place in order] == [scenario(number) for number in order]


def test_what_lies_together_is_read_once(rounds: list[Shards[Scenario]], monkeypatch: pytest.MonkeyPatch):
    read = []
    whole = ShardStore.read
    monkeypatch.setattr(ShardStore, "read", lambda store, *of: read.append(of[0]) or whole(store, *of))
    rows = Rows(rounds)
    assert [rows[place].id for place in (0, 1, 2, 3, 4, 3)] == [scenario(place).id for place in (0, 1, 2, 3, 4, 3)]
    assert read == [0, 0]  # the first shard of each round


def test_there_is_no_place_behind_the_last(rounds: list[Shards[Scenario]]):
    with pytest.raises(IndexError):
        Rows(rounds)[6]
