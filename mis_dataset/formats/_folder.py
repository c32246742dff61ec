"""The folder of an export: written beside its place, and moved there when it is complete."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mis_dataset.assemble.folder import refuse_current
from mis_dataset.errors import OutputError, StorageError


def check_free(out: Path, dataset: Path) -> None:
    """See that an export can go to ``out``.

    Raises:
        OutputError: there is something already, it would lie inside the dataset, or it is the current folder.
    """
    try:
        if out.resolve().is_relative_to(dataset.resolve()):
            raise OutputError(
                f"{out} lies in the dataset {dataset}, which would no longer be valid; choose another --out"
            )
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out} is not a folder; choose another --out")
        if out.is_dir() and any(out.iterdir()):
            raise OutputError(f"{out} is not empty; choose another --out, or move away what is there")
        refuse_current(out)
    except OSError as error:
        raise _storage_error(error, out) from error


@contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place if the block succeeds, and vanishes if it does not.

    A link is followed.

    Raises:
        StorageError: the disk is full, or something cannot be written.
    """
    out = out.resolve()
    partial = out.with_name(f".{out.name}.partial")
    try:
        if partial.exists():
            shutil.rmtree(partial)  # left by an export that was killed
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rmdir()  # fails if somebody has put something into it since
        partial.rename(out)
    except OSError as error:
        raise _storage_error(error, out) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _storage_error(error: OSError, out: Path) -> StorageError:
    remedy = "free space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another --out"
    return StorageError(f"{out} cannot be written ({error.strerror or error}); {remedy}, and export again")
