"""A server in simulated time: what a client makes of it is counted to the millisecond, however busy the machine is."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from chat_server import fail, say

from mis_dataset.chat.limiter import Limiter

BASE_URL = "http://simulated/v1"


@dataclass
class Clock:
    """The time of all event loops."""

    now: float = 0.0


class _Selector(selectors.DefaultSelector):
    """Where an event loop would wait, time passes at once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        self._clock.now += 0 if ready else timeout or 0
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        super().__init__(_Selector(clock))
        self._simulated = clock

    def time(self) -> float:
        return self._simulated.now

    def run_in_executor(self, _: object, work: Callable[..., Any], *given: object) -> asyncio.Future[Any]:
        """Here and now: simulated time would not wait for a thread."""
        done = self.create_future()
        done.set_result(work(*given))
        return done


@dataclass(kw_only=True)
class SimulatedServer:
    """Turns down what is beyond its capacity, and a share of the rest; after some answers its capacity halves."""

    seconds: float = 0.2
    """What an answer takes."""
    on_the_way: float = 0.002
    """What a request and its reply take there and back."""
    capacity: int = 10**6
    turned_down: float = 0.0
    halves_after: int = 10**9
    spoilt: str = ""
    """Whoever asks something that begins so gets an error each time."""
    asked: int = 0
    answered: int = 0
    at_once: int = 0

    async def answer(self) -> int:
        """Work on a request, or not; the status."""
        await asyncio.sleep(self.on_the_way / 2)
        self.asked += 1
        capacity = self.capacity if self.answered < self.halves_after else self.capacity // 2
        taken = self.at_once < capacity and random.random() >= self.turned_down
        if taken:
            self.at_once += 1
            await asyncio.sleep(self.seconds)
            self.at_once -= 1
            self.answered += 1
        await asyncio.sleep(self.on_the_way / 2)
        return 200 if taken else 429


class _Transport(httpx2.AsyncBaseTransport):
    def __init__(self, server: SimulatedServer) -> None:
        self._server = server

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        status = await self._server.answer()
        if self._server.spoilt and f'"content": "{self._server.spoilt}'.encode() in request.content:
            status = 500
        return httpx2.Response(status, json=say("yes").body if status == 200 else fail(status).body, request=request)


@contextmanager
def simulated(server: SimulatedServer, model: str) -> Iterator[Clock]:
    """Within the block, whoever asks `BASE_URL` asks the server; gives the clock, in seconds."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", lambda: _Loop(clock))
        patch.setattr("mis_dataset.chat.client.over_aiohttp", lambda *_: _Transport(server))
        patch.setattr("mis_dataset.chat.limiter._limiters", {(BASE_URL, model): Limiter(lambda: clock.now)})
        yield clock
