"""One process at a time in a work folder."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mis_dataset.errors import OutputError, StorageError
from mis_dataset.run.shards import storage_error

_LOCK, _HOLDER = "build.lock", "build.lock.holder"
LOCK_FILES = frozenset({_LOCK, _HOLDER})
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
    # Never a soft lock, which is a mere file: it would outlive a process that is killed.
    lock, holder = FileLock(work / _LOCK, fallback_to_soft=False), work / _HOLDER
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise OutputError(
            f"the work folder {work} is in use by {_named_in(holder)}; wait until that is done, or stop it, or name "
            "another --work"
        ) from error
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise StorageError(
                f"{work} lies on a file system that has no locks ({error.strerror}); name another --work, or have it "
                "mounted with locks (Lustre: with the option flock)"
            ) from error
        raise storage_error(error, work) from error
    try:
        # A courtesy to others: a disk that is full must not keep anybody from cleaning up.
        with suppress(OSError):
            holder.write_text(_this_process(), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _named_in(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8") or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"
