"""One process at a time in a work folder, and for a dataset."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mis_dataset.errors import OutputError, StorageError
from mis_dataset.run.shards import storage_error

_LOCK = "build.lock"
_HOLDER = ".holder"
"""Behind the name of a lock: the file that says whose it is."""
LOCK_FILES = frozenset({_LOCK, _LOCK + _HOLDER})
"""What this leaves in a work folder."""
_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})


@contextmanager
def working_in(work: Path) -> Iterator[None]:
    """Within the block nobody else works in ``work``, which is made if need be.

    The lock is the operating system's: it ends with the process, however that ends.

    Raises:
        OutputError: another process, or another part of this one, works there.
        StorageError: the folder cannot be written, or its file system has no locks.
    """
    with _held(work / _LOCK, work, f"the work folder {work} is in use by", "--work"):
        yield


@contextmanager
def building(out: Path) -> Iterator[None]:
    """Within the block nobody else builds the dataset in ``out``, whatever the work folder; leaves nothing beside it.

    Raises:
        OutputError: another process, or another part of this one, does.
        StorageError: nothing can be written beside it.
    """
    out = out.resolve()
    path = out.with_name(f".{out.name}.lock")
    with ExitStack() as ending:
        # Where there are no locks, that of the work folder has to do.
        with suppress(_NoLocksError):
            ending.enter_context(_held(path, out, f"{out} is being built by", "--out"))
        # Before it is let go: who opens it meanwhile sees that it is gone.
        ending.callback(_removed, path)
        yield


class _NoLocksError(StorageError):
    """A file system has no locks."""


@contextmanager
def _held(path: Path, place: Path, refusal: str, option: str) -> Iterator[None]:
    """Within the block the lock of a place that an option named is this process's."""
    # Never a soft lock, which is a mere file: it would outlive a process that is killed.
    lock, holder = FileLock(path, fallback_to_soft=False), path.with_name(path.name + _HOLDER)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise OutputError(
            f"{refusal} {_named_in(holder)}; wait until that is done, or stop it, or name another {option}"
        ) from error
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise _NoLocksError(
                f"{place} lies on a file system that has no locks ({error.strerror}); name another {option}, or have "
                "it mounted with locks (Lustre: with the option flock)"
            ) from error
        raise storage_error(error, place) from error
    try:
        # A courtesy to others: a disk that is full must not keep anybody from cleaning up.
        with suppress(OSError):
            holder.write_text(_this_process(), encoding="utf-8")
        yield
    finally:
        _removed(holder)
        lock.release()


def _removed(path: Path) -> None:
    """See that a file is gone, if the system lets it go."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _named_in(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8") or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"
