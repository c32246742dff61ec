"""A sharded stage, and what it left on disk once it is complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mis_dataset.records import PASSING_TROUBLE, Failed, Rejected
from mis_dataset.run.draw import Tick
from mis_dataset.run.shards import Item, Outcome, Record, ShardStore

Source = TypeVar("Source")


@dataclass(frozen=True)
class Stage(Generic[Source, Record]):
    """A sharded stage: what it makes of one shard's records."""

    name: str
    record: type[Record]
    work: Callable[[Sequence[Source], Tick], Iterable[Item[Record]]]
    lacks: Callable[[Iterable[str]], list[str]] | None = None
    """Which of the picture files to which a shard's records refer are gone; None: the stage makes none."""


@dataclass(frozen=True)
class Shards(Generic[Record]):
    """A complete stage on disk."""

    store: ShardStore[Record]
    upstream: tuple[str, ...]
    """For each shard, the digest of the shard that it was made from."""

    def items(self) -> Iterator[Item[Record]]:
        """All items, in order."""
        for number, upstream in enumerate(self.upstream):
            yield from self.store.read(number, upstream)

    def records(self) -> Iterator[Record]:
        """All accepted records, in order, read a shard at a time."""
        for number in range(len(self.upstream)):
            yield from self.shard(number)

    def shard(self, number: int) -> list[Record]:
        """The accepted records of one shard."""
        return accepted(self.store.read(number, self.upstream[number]))

    def sizes(self) -> list[int]:
        """For each shard, how many accepted records it has."""
        found = (self.store.outcomes(number, upstream) for number, upstream in enumerate(self.upstream))
        return [outcomes["accepted", ""] for outcomes in found]

    def ids(self) -> Iterator[str]:
        """The ids of all accepted records, in order."""
        for number, upstream in enumerate(self.upstream):
            yield from self.store.ids(number, upstream)

    def outcomes(self) -> Counter[Outcome]:
        """How many items ended how, and why."""
        found = (self.store.outcomes(number, upstream) for number, upstream in enumerate(self.upstream))
        return sum(found, Counter[Outcome]())


def accepted(items: Iterable[Item[Any]]) -> list[Any]:
    """The records of items that were neither rejected nor failed."""
    return [item.outcome for item in items if not isinstance(item.outcome, (Rejected, Failed))]


def passing_failures(outcomes: Counter[Outcome]) -> int:
    """How many items failed for reasons that another try may mend."""
    return sum(
        count
        for (outcome, reason), count in outcomes.items()
        if outcome == "failed" and reason.endswith(PASSING_TROUBLE)
    )


def told(outcomes: Counter[Outcome]) -> str:
    """``212 accepted, 3 rejected (2 complies, 1 blank)``."""
    parts = [f"{outcomes['accepted', '']} accepted"]
    for ending in ("rejected", "failed"):
        reasons = {reason: count for (outcome, reason), count in outcomes.items() if outcome == ending}
        if reasons:
            listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
            parts.append(f"{sum(reasons.values())} {ending} ({listed})")
    return ", ".join(parts)
