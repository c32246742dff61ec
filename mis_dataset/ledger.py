"""The ledger of a work folder: every server's answer and every drawing as it came, and what each stage used of them.

One SQLite file. What was paid for once is never asked for again: the key of an answer is everything that was asked
(model and revision, messages with their images, schema, sampling settings), that of a drawing everything that was
ordered. A killed process loses at most what was in flight.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from mis_dataset.budget import Cost, Limits, Prices
from mis_dataset.errors import StorageError
from mis_dataset.seeds import stable_digest
from mis_dataset.traffic import Traffic, TrafficCounter

_TABLES = """
CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, what TEXT, model TEXT, requests INTEGER, prompt_tokens INTEGER,
                                 completion_tokens INTEGER, images INTEGER, seconds REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used (key TEXT, folder TEXT, PRIMARY KEY (key, folder)) WITHOUT ROWID;
"""

_NUMBERS = "model, requests, prompt_tokens, completion_tokens, images, seconds"
"""The columns of what is kept that a `Cost` has, in its order."""

_OF_TROUBLE = (
    "it holds all that was paid for: free space, or see that it can be written, and run the same command again"
)
_OF_DAMAGE = (
    "it is damaged: put back a copy that is whole; if there is none, move it away: finished shards stay, the rest is "
    "asked for again, and what was spent so far is no longer known"
)

_account: ContextVar[Account | None] = ContextVar("open account", default=None)


@dataclass(frozen=True)
class Usage:
    """What one answer, or one drawing on an accelerator, took; nothing for a drawing that costs nothing."""

    model: str
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    images: int = 0
    seconds: float = 0.0


class Ledger:
    """A file of answers and costs, made when there is something to keep; safe to use from several threads.

    Args:
        path: the file.
        prices: of models and accelerators.
        limits: what one build may spend, of which the ledger watches over requests, money and GPU seconds.
    """

    def __init__(self, path: Path, prices: Prices | None = None, limits: Limits | None = None) -> None:
        self._path = path
        self._prices = prices or Prices()
        self._limits = limits or Limits()
        self._lock = RLock()
        self._connection: sqlite3.Connection | None = None
        self._folders: list[str] = []
        self._costs: dict[tuple[str, str], Cost] = {}
        self._in_flight = 0
        self._traffic = TrafficCounter()

    @contextmanager
    def charging(self, folder: str) -> Iterator[Account]:
        """Within the block, what is asked and drawn is charged to a stage's folder, ``teach-3f2a…``.

        All folders charged so far make up one build, whose costs are limited together.
        """
        self.open(folder)
        token = _account.set(account := Account(self, folder))
        try:
            yield account
        finally:
            _account.reset(token)

    def costs(self) -> tuple[Cost, ...]:
        """What the build has cost so far, that included for which an earlier build paid.

        One entry per stage and model, in the order in which stages were first charged, then by the model's name.
        """
        with self._lock:
            stages = [_stage(folder) for folder in self._folders]
            costs = sorted(self._costs.values(), key=lambda cost: (stages.index(cost.stage), cost.model))
        return tuple(map(self._prices.priced, costs))

    def traffic(self) -> tuple[Traffic, ...]:
        """What became of requests since this ledger was opened."""
        with self._lock:
            return self._traffic.traffic()

    def trouble(self, folder: str, model: str, reason: str) -> None:
        """Count a request of a stage's folder that came to nothing, for `traffic`; it costs nothing."""
        with self._lock:
            self._traffic.troubled(_stage(folder), model, reason)

    def check(self, *limits: str) -> None:
        """Stop if one of some limits is reached, or would be by what is in flight; see `Limits.check`.

        Raises:
            BudgetError: one is.
        """
        self._limits.check(self.costs(), *limits, in_flight=self._in_flight)

    @contextmanager
    def paying(self) -> Iterator[None]:
        """Within the block a request is in flight: what it will cost is counted before it is known.

        Raises:
            BudgetError: there is no room for another request.
        """
        self.take_off()
        try:
            yield
        finally:
            self.land()

    def take_off(self) -> None:
        """Count a request as in flight; raises as `paying` does."""
        with self._lock:
            self.check("max_usd", "max_requests")
            self._in_flight += 1

    def land(self) -> None:
        """Count a request as in flight no more."""
        with self._lock:
            self._in_flight -= 1

    def open(self, folder: str) -> None:
        """Charge a stage's folder to this build, too; the order in which folders are opened is that of their costs.

        Raises:
            StorageError: the file cannot be used.
        """
        with self._lock:
            if folder not in self._folders:
                self._folders.append(folder)
                self._costs = {}
                if self._path.exists():
                    self._sum()

    def close(self) -> None:
        """Close the file, if it was opened; what comes in late opens it again, for it is paid for."""
        with self._lock:
            if self._connection:
                self._connection.close()
                self._connection = None

    def get(self, key: str) -> dict[str, Any] | None:
        """What is kept under a key; None if there is nothing, or nothing came of it.

        Raises:
            StorageError: the file cannot be used.
        """
        with self._database() as database:
            row = database.execute("SELECT what FROM kept WHERE key = ?", (key,)).fetchone()
            what: dict[str, Any] | None = json.loads(row[0]) if row else None
        return what

    def pay(self, key: str, folder: str, usage: Usage, what: Mapping[str, Any] | None = None) -> None:
        """Charge something to a stage's folder as soon as it is paid for.

        Paid for twice (a drawing whose file was lost), it counts twice.

        Args:
            key: of what was asked or ordered.
            folder: the stage's.
            usage: what it took.
            what: what came of it; None if that is not there yet, and is `put` when it is.

        Raises:
            StorageError: the file cannot be used.
        """
        numbers = vars(usage).values()
        with self._database() as database, database:
            database.execute("BEGIN IMMEDIATE")  # one commit for all, and all or nothing
            if database.execute("SELECT 1 FROM kept WHERE key = ?", (key,)).fetchone():
                self.charge(key, folder)
            sums = ", ".join(f"{column} = {column} + excluded.{column}" for column in _NUMBERS.split(", ")[1:])
            database.execute(
                "INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                f"what = iif(excluded.what = 'null', what, excluded.what), {sums}",
                (key, json.dumps(what), *numbers),
            )
            database.execute("INSERT OR IGNORE INTO used VALUES (?, ?)", (key, folder))
            self._add(Cost(_stage(folder), *numbers))
            if usage.requests:
                self._traffic.answered(_stage(folder), usage.model)

    def put(self, key: str, what: Mapping[str, Any]) -> None:
        """Keep an answer or a drawing that was paid for; a process killed after this returns has it still.

        Raises:
            StorageError: the file cannot be used.
        """
        with self._database() as database:
            database.execute("UPDATE kept SET what = ? WHERE key = ?", (json.dumps(what), key))

    def charge(self, key: str, folder: str) -> None:
        """Charge what is kept under a key to a stage's folder, once for the whole build.

        Raises:
            StorageError: the file cannot be used.
        """
        with self._database() as database:
            users = {name for (name,) in database.execute("SELECT folder FROM used WHERE key = ?", (key,))}
            if folder in users:
                return
            database.execute("INSERT INTO used VALUES (?, ?)", (key, folder))
            if users.isdisjoint(self._folders):
                row = database.execute(f"SELECT {_NUMBERS} FROM kept WHERE key = ?", (key,)).fetchone()
                self._add(Cost(_stage(folder), *row))

    def _sum(self) -> None:
        """Add up all folders so far, from the file; what several used counts where it was first wanted."""
        places = ", ".join("?" * len(self._folders))
        with self._database() as database:
            rank = " ".join(f"WHEN ? THEN {rank}" for rank in range(len(self._folders)))
            firsts = (
                f"SELECT key, MIN(CASE folder {rank} END) AS rank FROM used WHERE folder IN ({places}) GROUP BY key"
            )
            sums = ", ".join(f"SUM({column})" for column in _NUMBERS.split(", ")[1:])
            rows = database.execute(
                f"SELECT rank, model, {sums} FROM kept NATURAL JOIN ({firsts}) GROUP BY rank, model",
                (*self._folders, *self._folders),
            )
            for rank_of_folder, *numbers in rows:
                self._add(Cost(_stage(self._folders[rank_of_folder]), *numbers))

    def _add(self, cost: Cost) -> None:
        if cost.requests or cost.images:
            key = cost.stage, cost.model
            self._costs[key] = self._costs.get(key, Cost(*key)) + cost

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                if self._connection is None:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    self._connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
                    # Write-ahead: a commit survives the process without waiting for the disk each time.
                    self._connection.execute("PRAGMA journal_mode = WAL")
                    self._connection.execute("PRAGMA synchronous = NORMAL")
                    self._connection.executescript(_TABLES)
                yield self._connection
        except (OSError, sqlite3.Error, json.JSONDecodeError) as error:
            remedy = _OF_DAMAGE if _is_damage(error) else _OF_TROUBLE
            raise StorageError(f"{self._path}: answers cannot be kept there ({error}); {remedy}") from error


@dataclass(frozen=True)
class Account:
    """The ledger as one stage sees it."""

    ledger: Ledger
    folder: str

    def recall(self, key: str) -> dict[str, Any] | None:
        """What is kept under a key, charged to the stage that wants it."""
        what = self.ledger.get(key)
        if what is not None:
            self.ledger.charge(key, self.folder)
        return what

    def keep(self, key: str, what: Mapping[str, Any], usage: Usage) -> None:
        """Keep what was just paid for."""
        self.ledger.pay(key, self.folder, usage, what)

    def trouble(self, model: str, reason: str) -> None:
        """Count a request that came to nothing."""
        self.ledger.trouble(self.folder, model, reason)


@contextmanager
def keeping_ledger(path: Path, prices: Prices | None = None, limits: Limits | None = None) -> Iterator[Ledger]:
    """Within the block, every conversation with a server keeps its answers in ``path`` and looks there first."""
    with closing(Ledger(path, prices, limits)) as ledger, ledger.charging(""):
        yield ledger


def open_account() -> Account | None:
    """The account of the surrounding `Ledger.charging`, if there is one."""
    return _account.get()


def request_key(**asked: Any) -> str:
    """The key of a request; equal for equal values."""
    return stable_digest(json.dumps(asked, sort_keys=True, default=str))


def _is_damage(error: Exception) -> bool:
    """Whether a file is not as it was written, rather than out of reach or out of room."""
    # The lowest byte is the kind of an error; a statement is one where the tables are not ours.
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kinds = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
    return isinstance(error, json.JSONDecodeError) or kind in kinds


def _stage(folder: str) -> str:
    return folder.partition("-")[0]
