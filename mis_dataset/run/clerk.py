"""The ledger of a build on many machines: one clerk keeps the file, everybody else asks the clerk.

SQLite does not share a file over a network. The clerk is an actor beside the driver, so that limits hold for the whole
build, and an answer that a lost worker paid for is there for the worker that takes over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mis_dataset.backends import require
from mis_dataset.budget import Cost, Limits, Prices
from mis_dataset.errors import MisError, StorageError
from mis_dataset.ledger import Ledger, Usage
from mis_dataset.traffic import Traffic


class Clerk:
    """Keeps the ledger; the class of the actor.

    Args:
        path: the ledger's file.
        prices, limits: see `Ledger`.
    """

    def __init__(self, path: Path, prices: Prices, limits: Limits) -> None:
        self._ledger = Ledger(path, prices, limits)
        self._in_flight = Counter[str]()

    def hello(self, worker: str) -> None:
        """A worker begins, perhaps in the place of one that was lost: what was in flight there is so no more."""
        for _ in range(self._in_flight.pop(worker, 0)):
            self._ledger.land()

    def do(self, worker: str, what: str, *args: Any) -> Any:
        """Do what the ledger's method ``what`` does; gives what it gives, or the error that it raises."""
        try:
            result = getattr(self._ledger, what)(*args)
        except MisError as error:
            return error
        self._in_flight[worker] += {"take_off": 1, "land": -1}.get(what, 0)
        return result


class RemoteLedger(Ledger):
    """A ledger whose file the clerk keeps.

    Args:
        clerk: the actor.
        worker: who asks; of all that ask at the same time, each has a name of its own.
    """

    def __init__(self, clerk: Any, worker: str) -> None:
        self.clerk = clerk
        self._worker = worker
        self._ray = require("ray", "ray")
        self._ray.get(clerk.hello.remote(worker))

    def open(self, folder: str) -> None:
        """As the clerk's ledger does."""
        self._ask("open", folder)

    def costs(self) -> tuple[Cost, ...]:
        """As the clerk's ledger has them."""
        costs: tuple[Cost, ...] = self._ask("costs")
        return costs

    def traffic(self) -> tuple[Traffic, ...]:
        """As the clerk's ledger counted it."""
        traffic: tuple[Traffic, ...] = self._ask("traffic")
        return traffic

    def trouble(self, folder: str, model: str, reason: str) -> None:
        """As the clerk's ledger does."""
        self._ask("trouble", folder, model, reason)

    def check(self, *limits: str) -> None:
        """As the clerk's ledger does."""
        self._ask("check", *limits)

    def take_off(self) -> None:
        """As the clerk's ledger does."""
        self._ask("take_off")

    def land(self) -> None:
        """As the clerk's ledger does."""
        self._ask("land")

    def close(self) -> None:
        """Nothing is open here: the clerk's file is closed with the clerk."""

    def get(self, key: str) -> dict[str, Any] | None:
        """As the clerk's ledger does."""
        what: dict[str, Any] | None = self._ask("get", key)
        return what

    def pay(self, key: str, folder: str, usage: Usage, what: Mapping[str, Any] | None = None) -> None:
        """As the clerk's ledger does."""
        self._ask("pay", key, folder, usage, what)

    def put(self, key: str, what: Mapping[str, Any]) -> None:
        """As the clerk's ledger does."""
        self._ask("put", key, dict(what))

    def charge(self, key: str, folder: str) -> None:
        """As the clerk's ledger does."""
        self._ask("charge", key, folder)

    def _ask(self, what: str, *args: Any) -> Any:
        try:
            result = self._ray.get(self.clerk.do.remote(self._worker, what, *args))
        except self._ray.exceptions.RayActorError as error:
            raise StorageError(
                "the process that keeps the ledger was lost, perhaps for lack of memory; what was paid for is kept: "
                "run the same command again"
            ) from error
        if isinstance(result, MisError):
            raise result
        return result
