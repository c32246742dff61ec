"""What lies in a work folder, and how what no known build refers to is removed.

    builds/*.json                  one per build: its stages                  stays, unless it is to be forgotten
    progress/*.json                how it goes, or went                       stays as long as the build
    <stage>-<12 digits>/           finished shards                            stays if a build names it
    review-<12 digits>.jsonl       what experts disagree on                   stays if a build names it
    images/ab/abcd….png            every image, by its bytes                  stays if a stage that stays names it,
                                                                              or if it was drawn for one to come
    ledger.sqlite                  answers and drawings as they came          stays, unless it is to go
    .….tmp                         what a killed process was writing          goes
    guests/*.json                  builds with another work folder, whose     while there is one, nothing goes
                                   shards are to lie here
    anything else                                                             stays

In doubt things stay: where a shard cannot be read, every image does. What lies in a --storage is left alone.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mis_dataset.errors import OutputError, UsageError
from mis_dataset.records import SHARDED_STAGES
from mis_dataset.run.images import ImageStore
from mis_dataset.run.lock import LOCK_FILES, working_in
from mis_dataset.run.shards import storage_error
from mis_dataset.run.state import GUESTS, BuildState, stage_folder

_STAGE = re.compile(rf"(?:{'|'.join(SHARDED_STAGES)})-[0-9a-f]{{12}}")
_REVIEW = re.compile(r"review-[0-9a-f]{12}\.jsonl")
_HALF_WRITTEN = re.compile(r"\..+\.\d+-\d+\.tmp")
_SHARD = re.compile(r"shard-\d+\.parquet")
_LEDGER = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm")
_STRANGER = "not made by a build"


@dataclass(frozen=True)
class Part:
    """Something in a work folder that goes or stays as a whole."""

    name: str
    """Relative to the work folder."""
    why: str
    """Why it goes or stays."""
    paths: tuple[Path, ...]
    """Files, and folders with all that is in them."""
    files: int
    size: int
    """In bytes."""


@dataclass(frozen=True)
class CleanPlan:
    """What of a work folder goes, and what stays."""

    goes: tuple[Part, ...]
    stays: tuple[Part, ...]


@contextmanager
def cleaning(work: Path, *, forget: Collection[Path] = (), ledger: bool = False) -> Iterator[CleanPlan]:
    """Within the block no build works in ``work``; it is the time to look at the plan, to ask, and to `remove`.

    Args:
        work: the work folder.
        forget: directories of builds that count no more; what only they refer to goes.
        ledger: whether the answers and drawings that were paid for go, too.

    Raises:
        OutputError: no build is known there, one cannot be read, or one is at work; or builds of which only another
            work folder knows what they need keep their shards there.
        UsageError: no build into a directory of ``forget`` is known there.
        StorageError: the folder cannot be read or written.
    """
    if not _state_files(work):
        raise OutputError(f"no build is known in {work}, so nothing says what is still wanted; name its --work")
    with working_in(work):
        _refuse_guests(work)
        builds = {path: _load(path) for path in _state_files(work)}
        try:
            plan = _plan(work, builds, _named(forget, builds, work), ledger=ledger)
        except OSError as error:
            raise storage_error(error, work) from error
        yield plan


def remove(plan: CleanPlan) -> None:
    """Remove what is to go; interrupted, what is left of it goes the next time.

    Raises:
        StorageError: something cannot be removed.
    """
    for path in (path for part in plan.goes for path in part.paths):
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from error
        if path.suffix == ".png":
            with suppress(OSError):  # other images are left in the folder
                path.parent.rmdir()


def _plan(work: Path, builds: Mapping[Path, BuildState], forgotten: Collection[Path], *, ledger: bool) -> CleanPlan:
    wanted = _wanted(state for path, state in builds.items() if path not in forgotten)
    goes: list[Part] = []
    stays: list[Part] = []
    kept_stages: list[Path] = []
    apart = {"builds", "progress", GUESTS, "images", *_LEDGER, *LOCK_FILES}
    for path in sorted(work.iterdir()):
        if path.name in apart or _HALF_WRITTEN.fullmatch(path.name):
            continue
        if not _is_of_a_build(path):
            stays.append(_part(path.name, _STRANGER, [path]))
        elif users := wanted.get(path.name):
            stays.append(_part(path.name, f"of {', '.join(sorted(users))}", [path]))
            kept_stages += [path] if path.is_dir() else []
        else:
            goes.append(_part(path.name, "no known build refers to it", [path]))

    goes += _part_if_any("*.tmp", "a killed process was writing them", _half_written(work, kept_stages))
    images_go, images_stay = _images(work, kept_stages, wanted)
    goes += images_go
    stays += images_stay
    files = [path for name in _LEDGER if (path := work / name).exists()]
    (goes if ledger else stays).extend(_part_if_any(_LEDGER[0], "answers and drawings that were paid for", files))
    # Last: removal that is interrupted still knows what was to be forgotten.
    for path, state in builds.items():
        fate = goes if path in forgotten else stays
        told = _told(state, work, is_forgotten=path in forgotten)
        fate.append(_part(f"builds/{path.name}", told, _files_of(path)))
    return CleanPlan(tuple(goes), tuple(stays))


def _files_of(state: Path) -> list[Path]:
    """A build's own files."""
    progress = state.parent.with_name("progress") / state.name
    return [state, *([progress] if progress.exists() else [])]


def _is_of_a_build(path: Path) -> bool:
    """Whether it is a stage's folder or a review queue, of whichever build."""
    pattern = _STAGE if path.is_dir() else _REVIEW
    return not path.is_symlink() and bool(pattern.fullmatch(path.name))


def _wanted(builds: Iterable[BuildState]) -> Mapping[str, set[str]]:
    """By the names of stages' folders and review queues, the directories of the builds that refer to them."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for state in builds:
        for name in _names_in(state):
            wanted[name].add(state.out)
    return wanted


def _names_in(state: BuildState) -> set[str]:
    """What a build makes, or is to make: a stage has no folder until its first shard is finished."""
    prints = [one for prints in state.rounds for one in prints.items()]
    folders = {stage_folder(Path(), stage, fingerprint).name for stage, fingerprint in prints}
    return folders | {f"review-{fingerprint[:12]}.jsonl" for stage, fingerprint in prints if stage == "screen"}


def _images(work: Path, stages: Collection[Path], charged: Collection[str]) -> tuple[list[Part], list[Part]]:
    """The images that go, and those that stay: what finished stages name, and what was drawn for ``charged`` ones."""
    root = work / "images"
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not _HALF_WRITTEN.fullmatch(path.name)]
    images = [path for path in files if path == root / ImageStore.path_of(path.stem)]
    try:
        named = _named_images(stages) | _drawn(work / _LEDGER[0], charged)
        why = "of the stages that stay"
    except _DoubtError as doubt:
        named, why = {path.stem for path in images}, f"any may be needed: {doubt}"
    loose = [path for path in images if path.stem not in named]
    kept = [path for path in images if path.stem in named]
    others = sorted(set(files) - set(images))
    return (
        _part_if_any("images", "no stage that stays names them", loose),
        _part_if_any("images", why, kept) + _part_if_any("images, others", _STRANGER, others),
    )


class _DoubtError(Exception):
    """It cannot be known which images are needed."""


def _named_images(stages: Iterable[Path]) -> set[str]:
    """The SHA-256 of every image that finished shards name."""
    named: set[str] = set()
    for stage in stages:
        if stage.name.startswith("compose-"):
            continue  # before anything is drawn
        for path in stage.iterdir():
            if _SHARD.fullmatch(path.name):
                named |= _shard_images(path)
            elif not _HALF_WRITTEN.fullmatch(path.name):
                raise _DoubtError(f"{path} is not a shard")
    return named


def _shard_images(path: Path) -> set[str]:
    try:
        with pq.ParquetFile(path) as file:
            records = file.read(columns=["record.pictures"])["record"]
        pictures = pc.list_flatten(pc.struct_field(records, "pictures"))
        attempts = pc.list_flatten(pc.struct_field(pictures, "attempts"))
        return {name for found in (pictures, attempts) for name in pc.struct_field(found, "sha256").to_pylist() if name}
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _DoubtError(f"{path} is damaged, or of another version ({type(error).__name__})") from error


def _drawn(ledger: Path, folders: Collection[str]) -> set[str]:
    """The SHA-256 of every image that was drawn for some stages, be it for a shard that is not finished."""
    if not ledger.exists():
        return set()
    query = (
        "SELECT json_extract(what, '$.sha256') FROM kept NATURAL JOIN used "
        f"WHERE folder IN ({', '.join('?' * len(folders))})"
    )
    try:
        # Not mode=ro: only who may write tidies SQLite's side files up behind it.
        with closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=rw", uri=True)) as database:
            return {name for (name,) in database.execute(query, tuple(folders)) if name}
    except sqlite3.Error as error:
        raise _DoubtError(f"{ledger} cannot be read ({error})") from error


def _half_written(work: Path, stages: Iterable[Path]) -> list[Path]:
    """Below the work folder itself, only where builds write: the rest is not theirs."""
    found = [*work.glob(".*.tmp"), *(work / "images").rglob(".*.tmp")]
    found += [path for folder in (work / "builds", work / "progress", *stages) for path in folder.glob(".*.tmp")]
    return sorted(path for path in found if _HALF_WRITTEN.fullmatch(path.name))


def _part(name: str, why: str, paths: Collection[Path]) -> Part:
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if not file.is_dir()]
    return Part(name, why, tuple(paths), len(files), sum(file.lstat().st_size for file in files))


def _part_if_any(name: str, why: str, paths: Collection[Path]) -> list[Part]:
    return [_part(name, why, paths)] if paths else []


def _told(state: BuildState, work: Path, *, is_forgotten: bool) -> str:
    told = f"{state.recipe} into {state.out}"
    if is_forgotten:
        told += ", to be forgotten"
    elif not Path(state.out).exists():
        told += f", which is not there; --forget {state.out} lets its work go"
    if state.storage not in ("", str(work.resolve())):
        told += f"; its shards lie in {state.storage}, which is not cleaned"
    return told


def _state_files(work: Path) -> list[Path]:
    return sorted((work / "builds").glob("*.json"))


def _load(path: Path) -> BuildState:
    try:
        state = BuildState(**json.loads(path.read_text(encoding="utf-8")))
        _names_in(state)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{path} cannot be read, so what its build needs is not known; run that build again, or remove the file if "
            "the build is not wanted"
        ) from error
    return state


def _refuse_guests(work: Path) -> None:
    """Stop where shards lie of which only another work folder knows which are wanted, and what was drawn for more."""
    if guests := sorted((work / GUESTS).glob("*.json")):
        outs = ", ".join(sorted({_load(path).out for path in guests}))
        raise OutputError(
            f"{work} is the --storage of builds that have another --work ({outs}), and nothing here says what they "
            f"need; remove {work / GUESTS} if they are not wanted any more"
        )


def _named(forget: Collection[Path], builds: Mapping[Path, BuildState], work: Path) -> set[Path]:
    """The files of the builds that are to be forgotten."""
    found: set[Path] = set()
    for out in forget:
        matching = {
            path
            for path, state in builds.items()
            if state.out == str(out) or Path(state.out).resolve() == out.resolve()
        }
        if not matching:
            known = ", ".join(sorted({state.out for state in builds.values()}))
            raise UsageError(f"--forget {out}: no build into it is known in {work}; known are {known}")
        found |= matching
    return found
