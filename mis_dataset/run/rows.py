"""The records of a complete stage as one sequence, of which no more than two shards are in memory at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Generic

from mis_dataset.run.shards import Record
from mis_dataset.run.stage import Shards

_SHARDS_AT_ONCE = 2
"""Twins may lie in shards that follow one another."""


class Rows(Generic[Record]):
    """All accepted records, in order; those that lie together are read together.

    Args:
        rounds: one stage's shards of every round.
    """

    def __init__(self, rounds: Iterable[Shards[Record]]) -> None:
        self._rounds = list(rounds)
        self._pieces = [(shards, number) for shards in self._rounds for number in range(len(shards.upstream))]
        self._ends = list(accumulate(size for shards in self._rounds for size in shards.sizes()))
        self._shard = lru_cache(_SHARDS_AT_ONCE)(self._read)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Record]:
        return (record for shards in self._rounds for record in shards.records())

    def __getitem__(self, place: int) -> Record:
        piece = bisect_right(self._ends, place)
        begin = self._ends[piece - 1] if piece else 0
        return self._shard(piece)[place - begin]

    def _read(self, piece: int) -> list[Record]:
        shards, number = self._pieces[piece]
        return shards.shard(number)
