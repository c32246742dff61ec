"""What a build is about, for whoever asks later: which stages, with which fingerprints, how far."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mis_dataset.errors import OutputError
from mis_dataset.records import SHARDED_STAGES
from mis_dataset.run.shards import replacing
from mis_dataset.seeds import stable_digest
from mis_dataset.storage import located


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

        Raises:
            StorageError: the folder cannot be written.
        """
        with suppress(OutputError):
            known = BuildState.load(work, out)
            is_same = (known.fingerprint, known.storage) == (self.fingerprint, self.storage)
            if is_same and list(known.rounds[: len(self.rounds)]) == list(self.rounds):
                return
        with replacing(_state_path(work, out)) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

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


def stage_status(work: Path, state: BuildState) -> Iterator[StageStatus]:
    """Read from the files how far each sharded stage of the last round is; unreadable shards do not count."""
    prints, store = state.rounds[-1], located(state.storage or work)
    total = _planned(stage_folder(store, "compose", prints["compose"]))
    for stage in SHARDED_STAGES:
        done, statuses = 0, Counter[str]()
        for path in sorted(stage_folder(store, stage, prints[stage]).glob("shard-*.parquet"), key=str):
            try:
                with path.open("rb") as stream, pq.ParquetFile(stream) as file:
                    statuses.update(file.read(columns=["status"])["status"].to_pylist())
            except (pa.ArrowException, OSError):
                continue
            done += 1
        yield StageStatus(stage, done, total, statuses["accepted"], statuses["rejected"] + statuses["failed"])


def _planned(compose: Path) -> int | None:
    """How many shards a round has; None until everything is composed."""
    try:
        shards: int = json.loads((compose / "plan.json").read_text(encoding="utf-8"))["shards"]
    except (OSError, ValueError, KeyError):
        return None
    return shards
