"""Many rows at a time in an event loop of its own, results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from mis_dataset.errors import BudgetError
from mis_dataset.stopping import StopCheck, stop_check

_CHECK_EVERY_S = 0.5


class Stoppable(Protocol):
    """What work draws on."""

    def stop(self) -> Collection[asyncio.Task[Any]]:
        """Begin nothing more; returns the tasks that wait for what is paid for."""


Resource = TypeVar("Resource", bound=Stoppable)
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Resource, Item], Awaitable[Result]],
    items: Sequence[Item],
    open_resource: Callable[[], AbstractAsyncContextManager[Resource]],
    at_once: int,
    grace_s: float,
) -> Generator[Result, None, None]:
    """Run ``work`` on all items in an event loop of its own and yield the results in order.

    The loop runs in a thread, so that answers keep coming in while the caller stores a row, and so that the caller may
    itself be inside a loop, as in a notebook.

    Closed early, told to stop (see `mis_dataset.stopping`), or stopped by an error, nothing new begins, and what is
    paid for has ``grace_s`` seconds to come in; after a `BudgetError` it has as long as it takes, until the caller
    closes or is told to stop.
    """
    # A queue of lists: to wake the caller costs more than most of what is done for a row.
    results: SimpleQueue[list[Result]] = SimpleQueue()
    loop, stopped, check = asyncio.new_event_loop(), asyncio.Event(), stop_check()

    async def run_all() -> None:
        async with open_resource() as resource:
            await _Crowd(work, items, resource, results.put).run(at_once, stopped, grace_s)

    def run_in_loop() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run_all())

    with ThreadPoolExecutor(1, "chat") as thread:
        running = thread.submit(run_in_loop)
        running.add_done_callback(lambda _: results.put([]))
        try:
            while ready := _next(results, check):
                yield from ready
            running.result()
        finally:
            with suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(stopped.set)


def _next(results: SimpleQueue[list[Result]], check: StopCheck) -> list[Result]:
    """The next results, unless the caller is to stop; whoever waits for the first row hears of it, too."""
    while True:
        # Each time, not only where nothing comes: the caller may hold results back, and learn it from nobody else.
        check()
        with suppress(Empty):
            return results.get(timeout=_CHECK_EVERY_S)


class _Crowd(Generic[Resource, Item, Result]):
    """Workers who take an item after the other."""

    def __init__(
        self,
        work: Callable[[Resource, Item], Awaitable[Result]],
        items: Sequence[Item],
        resource: Resource,
        deliver: Callable[[list[Result]], None],
    ) -> None:
        self._work = work
        self._resource = resource
        self._deliver = deliver
        self._waiting = deque(enumerate(items))
        self._early: dict[int, Result] = {}
        self._next = 0

    async def run(self, at_once: int, stopped: asyncio.Event, grace_s: float) -> None:
        """Work until all is done, or stopped, or until the first error, which is raised."""
        if not self._waiting:
            return
        workers = [asyncio.create_task(self._worker()) for _ in range(min(at_once, len(self._waiting)))]
        stopping = asyncio.create_task(stopped.wait())
        await _either(asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION), stopping)
        errors = _errors(workers)
        self._begin_nothing(workers)
        if any(isinstance(error, BudgetError) for error in errors):
            await _either(asyncio.wait(workers), stopping)
        _, late = await asyncio.wait(workers, timeout=grace_s)
        for worker in late:
            worker.cancel()
        await asyncio.wait(workers)
        if errors := [*errors, *_errors(workers)]:
            raise errors[0]

    async def _worker(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            number, item = self._waiting.popleft()
            try:
                self._early[number] = await self._work(self._resource, item)
            except BaseException:  # whatever it is, nothing new begins
                self._waiting.clear()
                raise
            if number == self._next:
                # With what else has just come in, and before anybody learns that a worker has ended.
                loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        ready = []
        while self._next in self._early:
            ready.append(self._early.pop(self._next))
            self._next += 1
        if ready:
            self._deliver(ready)

    def _begin_nothing(self, workers: Sequence[asyncio.Task[None]]) -> None:
        """Let go on only who waits for what is paid for."""
        self._waiting.clear()
        paid = self._resource.stop()
        for worker in workers:
            if worker not in paid:
                worker.cancel()


async def _either(waiting: Coroutine[Any, Any, Any], stopping: asyncio.Task[Any]) -> None:
    await asyncio.wait([asyncio.create_task(waiting), stopping], return_when=asyncio.FIRST_COMPLETED)


def _errors(workers: Sequence[asyncio.Task[None]]) -> list[BaseException]:
    errors = [worker.exception() for worker in workers if worker.done() and not worker.cancelled()]
    return [error for error in errors if error is not None]
