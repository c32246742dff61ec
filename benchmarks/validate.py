"""What checking a dataset costs beside the plainest way to check its rows.

python -m benchmarks.validate            two thousand rows; half a minute
python -m benchmarks.validate --quick    a tenth of them

`validate` does all that it does: it hashes the files, reads the Parquet files, checks rows and provenance against their
schemas, the policy, the taxonomy and each other, and writes the card anew. Images are small and few, for decoding them
is no matter of schemas. The other side has the same rows and provenance in memory and calls `jsonschema.validate` on
each, images as text because JSON has no bytes.
"""

from __future__ import annotations

import base64
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import pyarrow.parquet as pq

from benchmarks.sample_rows import FACTS, noise, sample_rows
from benchmarks.table import Measured, markdown
from mis_dataset.assemble import assemble
from mis_dataset.run.images import ImageStore
from mis_dataset.schema import load_schema
from mis_dataset.validation import validate

_ROWS = 2_000
_NAIVE_ROWS = 100
"""Of so many rows the plain way's time is taken: it looks at each by itself, so more would only take longer."""


def measure(repeats: int = 5, quick: bool = False) -> list[Measured]:
    """The ratio of rows per second."""
    count = _ROWS // 10 if quick else _ROWS
    with TemporaryDirectory() as folder:
        dataset = _assembled(Path(folder), count)
        plain = _in_memory(dataset)
        ratios, speeds = list[float](), list[float]()
        for _ in range(repeats):
            speeds.append(count / _seconds(lambda: _refuse_problems(dataset)))
            ratios.append(speeds[-1] / (_NAIVE_ROWS / _seconds(lambda: _check_plainly(plain))))
    return [
        Measured(
            "validate: rows/s ÷ jsonschema.validate per row, images apart",
            statistics.median(ratios),
            20,
            is_at_most=False,
            remark=f"{min(ratios):.3g} to {max(ratios):.3g}; {statistics.median(speeds):,.0f} rows/s",
        )
    ]


def _assembled(folder: Path, count: int) -> Path:
    store = ImageStore(folder / "images")
    assemble(sample_rows(store, noise(32, 12), count), FACTS, store.root, folder / "mis")
    return folder / "mis"


def _in_memory(dataset: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Some values with their schemas."""
    values = []
    for config, name in (("data", "row"), ("provenance", "provenance")):
        for path in sorted((dataset / config).iterdir()):
            values += [(row, load_schema(name)) for row in pq.read_table(path).slice(0, _NAIVE_ROWS).to_pylist()]
    for row, _ in values:
        for image in row["images"]:
            if "bytes" in image:
                image["bytes"] = base64.b64encode(image["bytes"]).decode()
    return values


def _refuse_problems(dataset: Path) -> None:
    problems = validate(dataset)
    assert not problems, problems


def _check_plainly(values: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    for value, schema in values:
        jsonschema.validate(value, schema)


def _seconds(work: Callable[[], None]) -> float:
    """Of the processor, all threads together: others may use the machine."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


if __name__ == "__main__":
    print(markdown(measure(quick="--quick" in sys.argv)))
