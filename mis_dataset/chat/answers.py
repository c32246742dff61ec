"""Answers kept as they came, before anybody parses them: what a server was paid for once is never asked for again.

One SQLite file, so that a killed process loses at most the requests that were in flight. The key of an answer is
everything that was asked: model and revision, messages with their images, schema, sampling settings.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Lock
from typing import Any

from mis_dataset.errors import StorageError
from mis_dataset.seeds import stable_digest

_open_store: ContextVar[AnswerStore | None] = ContextVar("open answer store", default=None)


class AnswerStore:
    """A file of answers, made when the first is kept; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer kept under a key.

        Raises:
            StorageError: the file cannot be used.
        """
        with self._database() as database:
            row = database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer; a process killed after this returns has it still.

        Raises:
            StorageError: the file cannot be used.
        """
        with self._database() as database:
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(answer)))

    def close(self) -> None:
        """Close the file, if it was opened."""
        if self._connection:
            self._connection.close()

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
                    self._connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT)")
                yield self._connection
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"{self._path}: answers cannot be kept there ({error}); free space, or move the file away"
            ) from error


@contextmanager
def keeping_answers(path: Path) -> Iterator[None]:
    """Within the block, every conversation with a server keeps its answers in ``path`` and looks there first."""
    with closing(AnswerStore(path)) as store:
        token = _open_store.set(store)
        try:
            yield
        finally:
            _open_store.reset(token)


def open_store() -> AnswerStore | None:
    """The store of the surrounding `keeping_answers`, if there is one."""
    return _open_store.get()


def request_key(**asked: Any) -> str:
    """The key of a request; equal for equal values."""
    return stable_digest(json.dumps(asked, sort_keys=True, default=str))
