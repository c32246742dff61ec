"""The word to stop, for work that may wait long: whoever has it done says whom to ask, and it asks while it waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

StopCheck = Callable[[], None]
"""Raises what ends the work if it is to stop; takes next to no time."""

_check: ContextVar[StopCheck] = ContextVar("stop check", default=lambda: None)


@contextmanager
def stoppable(check: StopCheck) -> Iterator[None]:
    """Within the block, what waits long in this thread asks ``check`` now and then."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def stop_check() -> StopCheck:
    """What the surrounding `stoppable` was given; outside of any, work is never told to stop."""
    return _check.get()
