"""A post on the line: one stage's belt, who works there, and how far it is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from mis_dataset.run.belt import Belt
from mis_dataset.run.shards import Outcome


@dataclass(frozen=True)
class PostState:
    """How far a stage is."""

    stage: str
    total: int | None
    """Items that it will have seen in the end, as far as is known now; None if nobody can tell yet."""
    found: int
    """Items of shards that an earlier build finished."""
    made: float
    """Items done since the build began, those of unfinished shards included."""
    accepted: int
    """Records in finished shards."""
    rejected: int
    failed: int
    waiting: int
    """Shards on the belt."""
    width: int
    """Shards that are made at the same time."""
    busy_s: float
    """Seconds of work since the build began, added up over ``width``."""
    elapsed_s: float
    """Seconds since the stage had its first shard to make, until now or until it was complete."""
    is_complete: bool
    is_sure: bool = True
    """Whether ``total`` is counted, if for what may still be lost; False while it is reckoned from the quotas."""

    @property
    def idle(self) -> float:
        """The share of its time, 0 to 1, in which the stage had nothing to do; 0 if it never worked."""
        return max(0.0, 1 - self.busy_s / (self.elapsed_s * self.width)) if self.elapsed_s else 0.0


class Post:
    """A stage's place on the line; safe to use from several threads.

    Args:
        stage: the stage's name.
        width: how many work here.
        capacity: shards that the belt holds.
    """

    def __init__(self, stage: str, width: int, capacity: int) -> None:
        self.stage = stage
        self.width = width
        self.belt = Belt(capacity)
        self.total: int | None = None
        self.is_sure = False
        self.outcomes: Counter[Outcome] = Counter()
        self._lock = Lock()
        self._there = width
        self._found = 0
        self._made = 0.0
        self._busy = 0.0
        self._begun: float | None = None
        self._ended: float | None = None
        self._working: list[float] = []

    def leave(self, *, is_complete: bool = True) -> bool:
        """One of those who work here has nothing more to do; whether that was the last, with whom the stage ends."""
        with self._lock:
            self._there -= 1
            if not self._there and is_complete:
                self._ended = time.monotonic()
            return not self._there

    @contextmanager
    def working(self) -> Iterator[None]:
        """Within the block, one of those who work here is busy."""
        begun = time.monotonic()
        with self._lock:
            self._begun = begun if self._begun is None else self._begun
            self._working.append(begun)
        try:
            yield
        finally:
            with self._lock:
                self._working.remove(begun)
                self._busy += time.monotonic() - begun

    def count(self, *, found: int = 0, made: float = 0.0, outcomes: Counter[Outcome] | None = None) -> None:
        """Count items that were found or made, and how those of a finished shard ended."""
        with self._lock:
            self._found += found
            self._made += made
            if outcomes:
                self.outcomes += outcomes

    def state(self) -> PostState:
        """How far the stage is now."""
        now = time.monotonic()
        with self._lock:
            ends = Counter[str]()
            for (outcome, _), count in self.outcomes.items():
                ends[outcome] += count
            until = now if self._ended is None else self._ended
            return PostState(
                stage=self.stage,
                total=self.total,
                found=self._found,
                made=self._made,
                accepted=ends["accepted"],
                rejected=ends["rejected"],
                failed=ends["failed"],
                waiting=len(self.belt),
                width=self.width,
                busy_s=self._busy + sum(now - begun for begun in self._working),
                elapsed_s=until - self._begun if self._begun is not None else 0.0,
                is_complete=self._ended is not None,
                is_sure=self.is_sure,
            )
