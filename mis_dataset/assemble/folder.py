"""Whole directories or none: work in a temporary sibling, rename it at the end."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mis_dataset.assemble.layout import MANIFEST, RECIPE, is_foreign
from mis_dataset.assemble.manifest import peek_manifest
from mis_dataset.errors import OutputError
from mis_dataset.run.shards import storage_error


@contextmanager
def fresh_directory(out: Path, fingerprint: str, replaces: str = "") -> Iterator[Path]:
    """A temporary directory that becomes ``out`` if the block succeeds, and vanishes if it does not.

    An earlier build with this fingerprint, or with the one that it ``replaces``, goes; anything else is left alone.
    What in its directory is none of the dataset's (see `is_foreign`) moves into the new one. A link is followed.

    Raises:
        OutputError: ``out`` holds something that must not be replaced.
        StorageError: the disk is full, or something cannot be written.
    """
    out = out.resolve()
    partial, earlier = _partial(out), _earlier(out)
    try:
        put_back(out)
        if not replaces or held_fingerprint(out) != replaces:
            holds(out, fingerprint)
        refuse_strangers(out)
        _clear(out)
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rename(earlier)
        partial.rename(out)
        _clear(out)
    except OSError as error:
        raise storage_error(error, out) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        put_back(out)


def put_back(out: Path) -> None:
    """Put the earlier dataset back where a new one was to take its place, and the build was ended in between.

    Raises:
        StorageError: it cannot be moved.
    """
    out = out.resolve()
    try:
        if peek_manifest(_earlier(out)) and held_fingerprint(out) is None:
            _earlier(out).rename(out)
    except OSError as error:
        raise storage_error(error, out) from error


def holds(out: Path, fingerprint: str) -> bool:
    """Whether ``out`` holds the dataset with this fingerprint; False if it is free.

    Raises:
        OutputError: it holds something else, or is the current folder.
        StorageError: it cannot be read.
    """
    held = held_fingerprint(out)
    if held not in (None, fingerprint):
        raise OutputError(f"{out} holds another dataset or other files; choose another --out, or move it away")
    if held is None:
        refuse_current(out)
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


def earlier_rounds(out: Path, recipe: str, stages: Mapping[str, str]) -> str:
    """The fingerprint of a dataset in ``out`` from the same recipe with fewer rounds; empty if there is none.

    Args:
        out: the dataset's directory.
        recipe: the canonical recipe.
        stages: the fingerprints of its first round.

    Raises:
        OutputError: it has more rounds.
    """
    manifest = peek_manifest(out)
    if manifest is None or manifest.get("stages") != dict(stages):
        return ""
    try:
        theirs, ours = tomllib.loads((out / RECIPE).read_text(encoding="utf-8")), tomllib.loads(recipe)
        held, wanted = theirs.pop("limits")["max_rounds"], ours.pop("limits")["max_rounds"]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError):
        return ""
    if theirs == ours and held > wanted:
        raise OutputError(
            f"{out} holds this dataset with limits.max_rounds = {held}; name as many, or choose another --out"
        )
    return str(manifest["fingerprint"]) if theirs == ours and held < wanted else ""


def own_files(directory: Path) -> set[str]:
    """The paths of all files in a dataset's directory, but for its manifest and what is none of the dataset's."""
    files = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    return {path for path in files if path != MANIFEST and not is_foreign(path)}


def refuse_strangers(out: Path) -> None:
    """See that the dataset in ``out``, if there is one, can be replaced without a loss.

    Raises:
        OutputError: there are files that it does not list, or it is the current folder.
    """
    refuse_current(out)
    manifest = peek_manifest(out)
    known = set(manifest["files"]) if manifest else set()
    if strangers := sorted(own_files(out) - known):
        raise OutputError(f"{out} also holds {', '.join(strangers[:5])}; move that away, a new build would delete it")


def refuse_current(out: Path) -> None:
    """See that ``out`` is not where somebody stands: it is replaced as a whole, and they would stand nowhere.

    Raises:
        OutputError: it is the current folder.
    """
    if out.resolve() == Path.cwd():
        raise OutputError(f"{out} is the current folder, which would be replaced; name a folder in it as --out")


def _partial(out: Path) -> Path:
    """Where the new dataset grows; what a build leaves here is rubbish."""
    return out.with_name(f".{out.name}.partial")


def _earlier(out: Path) -> Path:
    """Where the earlier dataset waits until the new one is in its place."""
    return out.with_name(f".{out.name}.earlier")


def _clear(out: Path) -> None:
    """Remove what lies beside the dataset in ``out``, which gets what was none of the earlier dataset's."""
    partial, earlier = _partial(out), _earlier(out)
    shutil.rmtree(partial, ignore_errors=True)
    if earlier.exists():
        for path in list(earlier.iterdir()):
            if is_foreign(path.name) and not (out / path.name).exists():
                path.rename(out / path.name)
        # Under its own name, the half of it that a killed build left would be put back.
        earlier.rename(partial)
        shutil.rmtree(partial, ignore_errors=True)
