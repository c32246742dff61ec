"""Holding backends to their word: one result per item, in order."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TypeVar

from mis_dataset.errors import BackendError

Asked = TypeVar("Asked")
Result = TypeVar("Result")

_NOTHING = object()


def one_each(backend: object, asked: Sequence[Asked], results: Iterable[Result]) -> Generator[tuple[Asked, Result]]:
    """Pair what a backend was asked with what it yields.

    Raises:
        BackendError: it yields fewer results than it was asked for, or more.
    """
    remaining = iter(results)
    for number, item in enumerate(asked):
        result = next(remaining, _NOTHING)
        if result is _NOTHING:
            raise _broken(backend, f"only {number}", len(asked))
        yield item, result  # type: ignore[misc]
    if next(remaining, _NOTHING) is not _NOTHING:
        raise _broken(backend, "more than", len(asked))


def _broken(backend: object, given: str, asked: int) -> BackendError:
    return BackendError(
        f"{type(backend).__name__} gave {given} results for {asked} items; it has to yield one for each, in order"
    )
