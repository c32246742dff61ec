"""What a build is about, for whoever asks later: which stages, with which fingerprints, how far."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mis_dataset.errors import OutputError
from mis_dataset.records import SHARDED_STAGES
from mis_dataset.run.shards import replacing, storage_error
from mis_dataset.seeds import stable_digest
from mis_dataset.storage import is_remote, located, look_anew, reaching

GUESTS = "guests"
"""Where a folder with shards knows of the builds whose own work folder is another."""


@dataclass(frozen=True)
class BuildState:
    """The last build into a directory, finished or not; kept in the work folder."""

    recipe: str
    out: str
    fingerprint: str
    """Of the dataset."""
    rounds: Sequence[Mapping[str, str]]
    """The fingerprints of each round's stages."""
    storage: str = ""
    """Where the shards lie, if not in the work folder."""

    def save(self, work: Path, out: Path) -> None:
        """Keep it in ``work``; later rounds of the same build that are known already stay known.

        A folder that holds the shards instead is told, too: it may be the work folder of other builds.

        Raises:
            StorageError: a folder cannot be written.
        """
        store = located(self.storage or work)
        if not is_remote(store) and store.resolve() != work.resolve():
            try:
                store.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise storage_error(error, store) from error
            self._write(store / GUESTS / _state_path(work, out).name)
        with suppress(OutputError):
            known = BuildState.load(work, out)
            is_same = (known.fingerprint, known.storage) == (self.fingerprint, self.storage)
            if is_same and list(known.rounds[: len(self.rounds)]) == list(self.rounds):
                return
        self._write(_state_path(work, out))

    @classmethod
    def load(cls, work: Path, out: Path) -> BuildState:
        """The state of the last build into ``out``.

        Raises:
            OutputError: no build into ``out`` is known in ``work``.
        """
        try:
            return cls(**json.loads(_state_path(work, out).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise OutputError(
                f"no build of {out} is known in {work}; name its --work, or start one: mis build RECIPE --out {out}"
            ) from error

    def _write(self, path: Path) -> None:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def stage_folder(work: Path, stage: str, fingerprint: str) -> Path:
    """Where a stage's shards lie."""
    return work / f"{stage}-{fingerprint[:12]}"


def progress_path(work: Path, out: Path) -> Path:
    """Where a running build into ``out`` tells how it goes."""
    return work / "progress" / _state_path(work, out).name


def _state_path(work: Path, out: Path) -> Path:
    return work / "builds" / f"{out.name}-{stable_digest(out.resolve())[:8]}.json"


@dataclass(frozen=True)
class StageStatus:
    """How far one stage is."""

    name: str
    done: int
    """Complete shards."""
    total: int | None
    """Shards in all; None until everything is composed."""
    items: int
    """Accepted items in the complete shards."""
    rejected: int
    """Items that were rejected or failed."""


def stage_status(work: Path, state: BuildState) -> list[StageStatus]:
    """Read from the files how far each sharded stage of the last round is; unreadable shards do not count.

    Raises:
        StorageError: the shards are remote, and cannot be reached.
    """
    prints, store = state.rounds[-1], located(state.storage or work)
    look_anew(store)
    with reaching(state.storage):
        total = _planned(stage_folder(store, "compose", prints["compose"]))
        return [_status(stage, stage_folder(store, stage, prints[stage]), total) for stage in SHARDED_STAGES]


def _status(stage: str, folder: Path, total: int | None) -> StageStatus:
    done, statuses = 0, Counter[str]()
    for path in sorted(folder.glob("shard-*.parquet"), key=str):
        try:
            found = path.stat()
            statuses.update(_statuses(path, found.st_mtime_ns, found.st_size))
        except (pa.ArrowException, OSError):
            continue
        done += 1
    return StageStatus(stage, done, total, statuses["accepted"], statuses["rejected"] + statuses["failed"])


@cache
def _statuses(path: Path, changed: int, size: int) -> Counter[str]:  # noqa: ARG001 - a shard that changed is read again
    """How the items of a shard ended; who watches a build looks at every shard each second, and this reads it once."""
    with path.open("rb") as stream, pq.ParquetFile(stream) as file:
        return Counter(file.read(columns=["status"])["status"].to_pylist())


def _planned(compose: Path) -> int | None:
    """How many shards a round has; None until everything is composed."""
    try:
        shards: int = json.loads((compose / "plan.json").read_text(encoding="utf-8"))["shards"]
    except (OSError, ValueError, KeyError):
        return None
    return shards
