"""A random sample of a run's answers for people to label; `mis_dataset.evaluate.calibrate` reads the labels."""

from __future__ import annotations

import csv
from pathlib import Path

from mis_dataset.errors import OutputError, UsageError
from mis_dataset.evaluate.logs import read_samples, rows_of
from mis_dataset.run.shards import replacing
from mis_dataset.seeds import stable_digest

COLUMNS = ("id", "intent", "question", "response", "outcome")
"""Of the file; the last is for people to fill in."""


def write_sample(log: Path, path: Path, n: int) -> int:
    """Write rows of a log to a CSV file without what judges say of them, which would sway people.

    Rows are chosen by a hash of their ids: any number of them is a fair sample, and a part of any larger one.

    Args:
        log: of a finished run.
        path: where to write; it may not exist yet, for it may have labels.
        n: so many rows at most.

    Returns:
        How many rows were written.

    Raises:
        UsageError: ``log`` is no finished log of ours, or has no rows.
        OutputError: ``path`` exists.
        StorageError: it cannot be written.
    """
    if path.exists():
        raise OutputError(f"{path} exists, and may have labels; name another file for the sample")
    header, samples = read_samples(log)
    asked = {sample.metadata["id"]: sample.metadata["question"] for sample in samples}
    rows = sorted((item.row for item in rows_of(header, samples)), key=lambda row: stable_digest(row.id))[:n]
    if not rows:
        raise UsageError(f"{log} has no rows to label; give the log of a run")
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows([row.id, row.intent, asked[row.id], row.response, ""] for row in rows)
    return len(rows)
