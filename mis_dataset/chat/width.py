"""How many requests a server takes at a time, learned from what becomes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_START = 32
_PER_TROUBLE = 2
"""So many troubles weigh as much as one answer: a server may turn down half of what it is sent whatever the load."""


class Width:
    """The limit of requests in flight: additive increase, multiplicative decrease (RFC 5681), once a round trip.

    A round trip is as many requests as the limit. What tells trouble that comes of load from trouble that does not is
    the level at which a request was sent, itself included: beyond a server's capacity little is answered, below it as
    much at one level as at another. So the server *carries* the level up to which answers outweigh troubles the most;
    what is not turned down yet counts as answered, for refusals come at once, and answers do not.
    At the end of a round trip the limit

    - is halved, if trouble took more of the requests' time than answers did, and than the requests took so far that
      are being answered: all turned down, or many timed out;
    - grows by one if all of it is carried, and is doubled as long as it was never too high;
    - falls to what is carried, but not below half, if there was trouble and some of it is not.

    No clock, no locks: `Limiter` has both.
    """

    def __init__(self) -> None:
        self.limit = 1
        self._cap = 1
        self._was_too_high = False
        self._scores = Counter[int]()
        self._begin()

    def _begin(self) -> None:
        self._left = self.limit
        self._scores_before, self._scores = self._scores, Counter()
        self._had_trouble = False
        self._useful_s, self._wasted_s = 0.0, 0.0
        self._pending: Sequence[tuple[int, float]] = ()

    def fit(self, cap: int) -> None:
        """Set the hard upper bound; before it was ever too high, the limit starts from it or from 32."""
        self._cap = cap
        if not self._was_too_high:
            self.limit = max(self.limit, min(cap, _START))
        self._set(self.limit)
        # What nobody has tried is taken to be carried, until two round trips say otherwise.
        self._scores = Counter({self.limit: _PER_TROUBLE * self.limit})
        self._begin()

    def answered(self, level: int, seconds: float) -> None:
        """A request that was sent as the ``level``-th in flight was answered."""
        self._useful_s += seconds
        self._scores[level] += _PER_TROUBLE
        self._count()

    def troubled(self, level: int, seconds: float, pending: Sequence[tuple[int, float]]) -> None:
        """A request that was sent as the ``level``-th in flight came to nothing.

        Args:
            level: see there.
            seconds: what it took.
            pending: the level of each that is in flight still, and what it took so far.
        """
        self._pending = pending
        self._wasted_s += seconds
        self._scores[level] -= 1
        self._had_trouble = True
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            self._decide()
            self._begin()

    def _decide(self) -> None:
        if self._wasted_s > self._useful_s + sum(seconds for _, seconds in self._pending):
            self._fall(self.limit // 2)
        elif _carried(self._scores) >= self.limit:
            self._set(self.limit + 1 if self._was_too_high else self.limit * 2)
        elif self._had_trouble:
            # What ends in one round trip was often sent in the one before, so one that falls short is no proof.
            self._scores_before.update(self._scores)
            for level, _ in self._pending:
                self._scores_before[level] += _PER_TROUBLE
            carried = _carried(self._scores_before)
            if carried < self.limit:
                self._fall(max(self.limit // 2, carried))

    def _fall(self, limit: int) -> None:
        self._was_too_high = True
        self._set(limit)

    def _set(self, limit: int) -> None:
        self.limit = min(max(limit, 1), self._cap)


def _carried(scores: Counter[int]) -> int:
    """The level up to which scores add up to the most; 0 if they are below zero from the start."""
    highest = total = carried = 0
    for level in sorted(scores):
        total += scores[level]
        if total >= highest:
            highest, carried = total, level
    return carried
