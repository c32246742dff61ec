"""The requests in flight to one server, however many backends, threads and event loops send them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from threading import Lock

from mis_dataset.chat.breaker import Breaker
from mis_dataset.chat.width import Width

_FORGOTTEN_AFTER_S = 60.0
_RESTED_SHARE = 1 / 8
"""Of a usual answer's time: how long a slot rests after trouble, lest it takes the place of many in a moment."""


class Limiter:
    """Lets as many requests through as the server takes, and none while it is to be left alone.

    What it learned lasts as long as it is asked for, and a minute longer. Safe to use from several threads.

    Args:
        clock: tells the time in seconds, as the event loops of those who ask do.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._caps: list[int] = []
        self.answers = 0
        """How many requests were answered so far."""
        self._idle_since = float("-inf")
        self._forget()

    @property
    def limit(self) -> int:
        """How many requests may be in flight."""
        return 1 if self.is_down else self._width.limit

    @property
    def is_down(self) -> bool:
        """Whether the server answers nobody, and is only probed."""
        return self._breaker.down_since is not None

    @property
    def is_lively(self) -> bool:
        """Whether it answered somebody within the time that an answer usually takes."""
        return self._clock() - self._answered_at <= self._usual_s

    @property
    def down_s(self) -> float:
        """For how long it has been down, in seconds; 0 if it is not."""
        since = self._breaker.down_since
        return 0.0 if since is None else self._clock() - since

    @contextmanager
    def joined(self, cap: int) -> Iterator[None]:
        """Within the block, up to ``cap`` requests may be in flight; of several caps at a time the largest counts."""
        with self._lock:
            if not self._caps:
                if self._clock() - self._idle_since > _FORGOTTEN_AFTER_S:
                    self._forget()
                self._breaker.reset()
            self._caps.append(cap)
            self._width.fit(max(self._caps))
            self._admit()
        try:
            yield
        finally:
            with self._lock:
                self._caps.remove(cap)
                if self._caps:
                    self._width.fit(max(self._caps))
                else:
                    self._idle_since = self._clock()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Wait for a turn; within the block one request may be sent. Whoever waits longest comes first."""
        slot = await self._enter()
        try:
            yield slot
        finally:
            self._leave(slot)

    def _forget(self) -> None:
        self._width = Width()
        self._breaker = Breaker()
        self._queue: deque[Future[bool]] = deque()
        self._serial = 0
        self._serving: dict[int, Slot] = {}
        self._resting = 0
        self._opens_at = float("-inf")
        self._usual_s = 0.0
        self._answered_at = float("-inf")

    async def _enter(self) -> Slot:
        while True:
            with self._lock:
                closed_s = self._opens_at - self._clock()
                if closed_s <= 0:
                    turn: Future[bool] = Future()
                    self._queue.append(turn)
                    self._admit()
            if closed_s > 0:
                await asyncio.sleep(closed_s)
            elif await self._called(turn):
                return self._send()

    async def _called(self, turn: Future[bool]) -> bool:
        """Wait to be called: to send (a place is taken), or to look again whether the server is to be left alone."""
        if turn.done():
            return turn.result()
        try:
            return await asyncio.wrap_future(turn)
        except asyncio.CancelledError:
            with self._lock:
                if not turn.cancel() and turn.result():
                    self._resting -= 1
                    self._admit()
            raise

    def _send(self) -> Slot:
        with self._lock:
            self._resting -= 1
            self._serial += 1
            slot = Slot(self, self._serial, len(self._serving) + 1, self._clock())
            self._serving[slot.serial] = slot
            return slot

    def _leave(self, slot: Slot) -> None:
        with self._lock:
            if slot.serial in self._serving:
                del self._serving[slot.serial]
            else:
                self._resting -= 1
            self._admit()

    def _admit(self) -> None:
        """Call those whose turn it is; until it sends, the place of who is called counts as resting."""
        while self._queue and self._opens_at <= self._clock() and self._taken < self.limit:
            turn = self._queue.popleft()
            if turn.set_running_or_notify_cancel():
                self._resting += 1
                turn.set_result(True)

    @property
    def _taken(self) -> int:
        return len(self._serving) + self._resting

    def _answered(self, slot: Slot) -> None:
        with self._lock:
            self._answered_at = self._clock()
            seconds = self._answered_at - slot.begun
            self._usual_s += (seconds - self._usual_s) / (8 if self._usual_s else 1)
            self._width.answered(slot.level, seconds)
            self._breaker.answered()
            self.answers += 1

    def _troubled(self, slot: Slot, asked_pause_s: float, backoff_s: float, suspect: bool) -> float:
        with self._lock:
            now = self._clock()
            del self._serving[slot.serial]
            self._resting += 1
            if not self.is_down:  # what it can carry when it is up is another matter
                pending = [(other.level, now - other.begun) for other in self._serving.values()]
                self._width.troubled(slot.level, now - slot.begun, pending)
            oldest = next(iter(self._serving), None)
            pause_s = self._breaker.troubled(
                slot.serial,
                next_serial=self._serial + 1,
                oldest=oldest,
                suspect=suspect,
                now=now,
                pause_s=backoff_s,
            )
            if (pause_s := max(pause_s, asked_pause_s)) > 0:
                self._opens_at = max(self._opens_at, now + pause_s)
                for turn in self._queue:
                    if turn.set_running_or_notify_cancel():
                        turn.set_result(False)
                self._queue.clear()
            return self._usual_s * _RESTED_SHARE


@dataclass(frozen=True)
class Slot:
    """One request in flight; say what became of it, once."""

    limiter: Limiter
    serial: int
    level: int
    """How many requests were in flight when it was sent, itself included."""
    begun: float

    def answered(self) -> None:
        """The server did its work, whatever it said."""
        self.limiter._answered(self)

    async def troubled(self, *, pause_s: float, backoff_s: float, suspect: bool) -> None:
        """It came to nothing, and another try may not; rests a little before the place is free.

        Args:
            pause_s: for how long the server asks to be left alone; it is, by everyone.
            backoff_s: the first pause between probes, should the server be down.
            suspect: whether it was the request's first try, and it can wait for a server that is down.
        """
        await asyncio.sleep(self.limiter._troubled(self, pause_s, backoff_s, suspect))


_limiters: dict[tuple[str, str], Limiter] = {}


def limiter_of(base_url: str, model: str) -> Limiter:
    """The limiter that everyone in this process shares who asks this model on this server."""
    return _limiters.setdefault((base_url.rstrip("/"), model), Limiter())
