"""Whole directories or none: work in a temporary sibling, rename it at the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mis_dataset.assemble.layout import MANIFEST
from mis_dataset.assemble.manifest import peek_manifest
from mis_dataset.errors import OutputError
from mis_dataset.run.shards import storage_error


@contextmanager
def fresh_directory(out: Path, fingerprint: str) -> Iterator[Path]:
    """A temporary directory that becomes ``out`` if the block succeeds, and vanishes if it does not.

    An earlier build of the dataset with this fingerprint is replaced, anything else is left alone.

    Raises:
        OutputError: ``out`` holds something that must not be replaced.
        StorageError: the disk is full, or something cannot be written.
    """
    out = out.absolute()
    partial, earlier = (out.with_name(f".{out.name}.{suffix}") for suffix in ("partial", "earlier"))
    try:
        holds(out, fingerprint)
        _refuse_strangers(out)
        for left_by_a_killed_build in (partial, earlier):
            if left_by_a_killed_build.exists():
                shutil.rmtree(left_by_a_killed_build)
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rename(earlier)
        partial.rename(out)
    except OSError as error:
        raise storage_error(error, out) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(earlier, ignore_errors=True)


def holds(out: Path, fingerprint: str) -> bool:
    """Whether ``out`` holds the dataset with this fingerprint; False if it is free.

    Raises:
        OutputError: it holds something else.
        StorageError: it cannot be read.
    """
    held = held_fingerprint(out)
    if held not in (None, fingerprint):
        raise OutputError(f"{out} holds another dataset or other files; choose another --out, or move it away")
    return held is not None


def held_fingerprint(out: Path) -> str | None:
    """The fingerprint of the dataset in ``out``, an empty string if it holds something else, None if it is free.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return None
    except OSError as error:
        raise storage_error(error, out) from error
    manifest = peek_manifest(out)
    return str(manifest["fingerprint"]) if manifest else ""


def _refuse_strangers(out: Path) -> None:
    manifest = peek_manifest(out)
    known = {MANIFEST, *manifest["files"]} if manifest else set()
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    if strangers := sorted(files - known):
        raise OutputError(f"{out} also holds {', '.join(strangers[:5])}; move that away, a new build would delete it")
