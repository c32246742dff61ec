"""A belt between two stages: carries shards, a bounded number of them, until it is closed or stopped."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from threading import Condition

from mis_dataset.run.shards import Outcome


class StoppedError(Exception):
    """The line stops, so this work ends here; what is finished is kept. Never leaves the line."""


@dataclass(frozen=True)
class Piece:
    """A finished shard of one stage, for the next one to work on; its records lie on disk."""

    number: int
    digest: str
    """SHA-256 of the shard's bytes."""
    outcomes: Counter[Outcome]
    """How many of its items ended how."""

    @property
    def items(self) -> int:
        """Accepted records."""
        return self.outcomes["accepted", ""]


class Belt:
    """A bounded queue; any number of threads may put and take.

    Args:
        capacity: how many shards it holds before `put` waits, so that no stage runs far ahead of the next.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._pieces: deque[Piece] = deque()
        self._changed = Condition()
        self._is_closed = self._is_discarding = self._is_stopped = False

    def __len__(self) -> int:
        return len(self._pieces)

    def put(self, piece: Piece) -> None:
        """Lay a piece on the belt, once there is room.

        Raises:
            StoppedError: the belt was stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or len(self._pieces) < self._capacity)
            if self._is_stopped:
                raise StoppedError
            if self._is_discarding:
                return
            self._pieces.append(piece)
            self._changed.notify_all()

    def take(self) -> Piece | None:
        """The next piece, once there is one; None when the belt is closed and empty.

        Raises:
            StoppedError: the belt was stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._is_closed or bool(self._pieces))
            if self._is_stopped:
                raise StoppedError
            piece = self._pieces.popleft() if self._pieces else None
            self._changed.notify_all()
            return piece

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def discard(self) -> None:
        """Nobody takes any more: what is on the belt and what will be put there is left to a later build."""
        with self._changed:
            self._is_closed = self._is_discarding = True
            self._pieces.clear()
            self._changed.notify_all()

    def stop(self) -> None:
        """Let everybody go who waits, now and later."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
