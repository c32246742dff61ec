"""The manifest: what a dataset's directory holds, to the byte. Written last, so whatever has one is complete."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mis_dataset import __version__
from mis_dataset.assemble.facts import BuildFacts
from mis_dataset.assemble.layout import MANIFEST
from mis_dataset.budget import per_row
from mis_dataset.errors import DatasetError, LaterFormatError
from mis_dataset.records import SUBSETS, Outline, side_of
from mis_dataset.schema import checker, load_schema

FORMAT = 1
_HASHED_AT_ONCE = 4


def write_manifest(directory: Path, rows: Sequence[Outline], facts: BuildFacts, row_counts: Mapping[str, int]) -> None:
    """Describe every file of ``directory``, which holds ``rows``; ``row_counts`` has those of its Parquet files."""
    subsets = Counter(row.subset for row in rows)
    sides = Counter(side_of(row.subset) for row in rows)
    files = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    known = files_facts(directory, files)
    manifest = {
        "format": FORMAT,
        "name": facts.name,
        "version": __version__,
        "fingerprint": facts.fingerprint,
        "stages": dict(facts.stages),
        "rows": {side: sides[side] for side in ("train", "test")},
        "subsets": {subset: subsets[subset] for subset in SUBSETS},
        "twins": sum(row.twin_id is not None for row in rows) // 2,
        "quotas": [asdict(quota) for quota in facts.quotas],
        "funnel": [asdict(step) for step in facts.funnel],
        "checks": asdict(facts.checks) if facts.checks else None,
        "rounds": facts.rounds,
        "spent": [asdict(cost) for cost in facts.spent],
        "spent_per_row": per_row(facts.spent, len(rows)) if facts.spent else {},
        "agreement": [asdict(agreement) for agreement in facts.agreement],
        "decontamination": [asdict(contamination) for contamination in facts.decontamination],
        **({"imported": {**asdict(facts.imported), "card": asdict(facts.card)}} if facts.imported else {}),
        "files": {
            path: {**known[path], **({"rows": row_counts[path]} if path in row_counts else {})} for path in files
        },
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def files_facts(directory: Path, paths: Collection[str]) -> dict[str, dict[str, Any]]:
    """`file_facts` of several files of a directory, some at a time: hashing leaves the interpreter free."""
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
        return dict(zip(paths, pool.map(lambda path: file_facts(directory / path), paths), strict=True))


def file_facts(path: Path) -> dict[str, Any]:
    """A file's SHA-256 and its size in bytes."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def peek_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a directory that `assemble` wrote, or None of any other; does not look whether it is intact."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(manifest, dict) and manifest.keys() >= {"format", "name", "fingerprint", "files"}
    return manifest if ours else None


def is_intact(directory: Path) -> bool:
    """Whether every file that the manifest lists is there as it was written."""
    manifest = peek_manifest(directory)
    return manifest is not None and all(
        (directory / path).is_file()
        and file_facts(directory / path) == {key: facts[key] for key in ("sha256", "bytes")}
        for path, facts in manifest["files"].items()
    )


def read_manifest(directory: Path) -> dict[str, Any]:
    """A dataset's manifest.

    Raises:
        DatasetError: there is none, or it breaks its schema; every problem is listed.
        LaterFormatError: a later version of this package wrote it.
    """
    try:
        text = (directory / MANIFEST).read_bytes()
    except OSError as error:
        remedy = "give the directory that `mis build` wrote"
        raise DatasetError(f"{directory} is not a dataset:", [f"{MANIFEST}: {error.strerror}; {remedy}"]) from error
    return parse_manifest(text, str(directory))


def parse_manifest(text: bytes, place: str) -> dict[str, Any]:
    """A manifest, checked.

    Args:
        text: the file's.
        place: what to call the dataset.

    Raises:
        DatasetError: it breaks its schema; every problem is listed.
        LaterFormatError: a later version of this package wrote it.
    """
    try:
        manifest: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"{place} is not a dataset:", [f"{MANIFEST}: not valid JSON: {error}"]) from error
    # Before the schema, which knows this format alone.
    if isinstance(manifest, dict) and isinstance(manifest.get("format"), int) and manifest["format"] > FORMAT:
        found = f"{MANIFEST}: its format is {manifest['format']}, and this version knows {FORMAT}"
        remedy = "pip install --upgrade mis-dataset"
        raise LaterFormatError(f"{place} was written by a later version of mis-dataset:", [f"{found}; {remedy}"])
    if problems := checker(load_schema("manifest"))(manifest):
        raise DatasetError(f"{place}/{MANIFEST} breaks its schema:", problems)
    return manifest
