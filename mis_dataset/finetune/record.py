"""``finetune.json``: what a model was trained on and how. Written last, so whatever has one is complete."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mis_dataset import __version__
from mis_dataset.errors import OutputError
from mis_dataset.finetune.context import LongestRow
from mis_dataset.finetune.rows import TrainingRow
from mis_dataset.finetune.settings import FinetuneSettings
from mis_dataset.finetune.source import Source
from mis_dataset.finetune.survey import Survey
from mis_dataset.finetune.train import Training
from mis_dataset.options import identity
from mis_dataset.seeds import stable_digest

RECORD = "finetune.json"
CHECKPOINTS = "checkpoints"
FORMAT = 1

_LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
_BY_CONTENT = ("data", "data_revision", "general", "general_revision")
"""Settings that only say where rows are; what is in them counts, wherever they are."""


def run_fingerprint(settings: FinetuneSettings, seen: Survey) -> str:
    """Identifies a run: everything that can change what is learnt."""
    chosen = {key: _plain(value) for key, value in identity(settings)["settings"].items() if key not in _BY_CONTENT}
    return stable_digest(json.dumps(chosen, sort_keys=True), seen.fingerprint)


def begin(out: Path, fingerprint: str) -> None:
    """Mark the folder as this run's; does nothing if it is already.

    Raises:
        OutputError: it holds something else.
    """
    mark = out / CHECKPOINTS / "run.json"
    if fingerprint in (_held(out / RECORD), _held(mark)):
        return
    # A run that stopped before its first checkpoint, say because a row did not fit, leaves nothing to lose.
    if out.is_file() or any(path.is_file() and path != mark for path in out.rglob("*")):
        raise OutputError(f"{out} holds another run or other files; choose another --out, or move it away")
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"fingerprint": fingerprint}) + "\n", encoding="utf-8")


def read_record(out: Path) -> dict[str, Any] | None:
    """The record of a complete run; None of anything else."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.keys() >= {"format", "fingerprint", "training"} else None


def make_record(
    settings: FinetuneSettings,
    source: Source,
    rows: Sequence[TrainingRow],
    seen: Survey,
    longest: LongestRow,
    training: Training,
    model: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that somebody needs to know of a model, or to train it again.

    Args:
        settings: the run's; paths of this machine are cut down to names.
        source: the dataset.
        rows: everything learnt, general rows included.
        seen: the survey of the rows.
        longest: the longest row.
        training: what the training came to.
        model: the base model's ``name``, ``revision`` and ``class``.
    """
    kinds = Counter(row.kind for row in rows)
    return {
        "format": FORMAT,
        "version": __version__,
        "fingerprint": run_fingerprint(settings, seen),
        "model": dict(model),
        "data": {
            "name": source.name,
            "fingerprint": source.fingerprint,
            "revision": source.revision,
            "rows": {kind: kinds[kind] for kind in ("harmful", "benign", "general")},
            "images": sum(row.images for row in rows),
            "learnt": seen.fingerprint,
            "longest_row": asdict(longest),
        },
        "settings": {
            **asdict(settings),
            "subsets": list(settings.subsets),
            **{key: short_name(getattr(settings, key)) for key in ("model", "data", "general")},
        },
        "training": asdict(training),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def write_record(out: Path, record: Mapping[str, Any]) -> None:
    """Put the record in its place, whole."""
    partial = out / f".{RECORD}.partial"
    partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.rename(out / RECORD)


def short_name(place: str | None) -> str | None:
    """A folder's or file's own name; an id on the Hub as it is."""
    return place and (Path(place).expanduser().resolve().name if Path(place).expanduser().exists() else place)


def _plain(value: Any) -> Any:
    """The same for 2 epochs in a recipe and 2.0 of a flag."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _held(path: Path) -> str | None:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return held.get("fingerprint") if isinstance(held, dict) else None
