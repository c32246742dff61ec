"""Where shards and images lie: a folder of this machine, or whatever fsspec reaches (``s3://bucket/mis``)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from mis_dataset.backends import require
from mis_dataset.errors import BackendError, StorageError


def located(place: str | Path) -> Path:
    """A path that can be read and written, whether it is a folder's or a URL's.

    Raises:
        BackendError: fsspec does not know the kind of URL, or lacks the library for it.
    """
    if "://" not in str(place):
        return Path(place)
    upath = require("upath", "cloud")
    try:
        path = upath.UPath(place)
        # The library for the protocol is imported when the file system is made.
        _ = path.fs
    except (ImportError, ValueError) as error:
        raise BackendError(f"{place} cannot be reached: {error}") from error
    return cast("Path", path)


@contextmanager
def reaching(storage: str) -> Iterator[None]:
    """Within the block, trouble with a remote store that its library does not tell as an `OSError` is a `StorageError`.

    Raises:
        StorageError: the store does not answer, or does not know who asks.
    """
    try:
        yield
    except _foreign_errors() as error:
        raise StorageError(
            f"{storage} cannot be used: {error}; see to its address, your credentials and the network, and run the "
            "same command again: finished work is kept"
        ) from error


def _foreign_errors() -> tuple[type[Exception], ...]:
    """Roots of the errors of libraries behind fsspec, as far as they are loaded."""
    roots = (
        ("botocore.exceptions", "BotoCoreError"),
        ("botocore.exceptions", "ClientError"),
        ("aiohttp", "ClientError"),
        ("gcsfs.retry", "HttpError"),
        ("gcsfs.retry", "ChecksumError"),
        ("gcsfs.retry", "NonRetryableError"),
        ("google.auth.exceptions", "GoogleAuthError"),
        ("google.api_core.exceptions", "GoogleAPIError"),
        ("azure.core.exceptions", "AzureError"),
    )
    loaded = ((sys.modules.get(module), name) for module, name in roots)
    return tuple(getattr(module, name) for module, name in loaded if hasattr(module, name))


def look_anew(place: Path) -> None:
    """Have fsspec forget what it has seen of a remote place, where other processes write."""
    if is_remote(place):
        cast("Any", place).fs.invalidate_cache()


def is_remote(path: Path) -> bool:
    """Whether a path is a URL's: its file system has no rename, and every look at it takes a round trip."""
    return not isinstance(path, Path)
