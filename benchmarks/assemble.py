"""What assembling a dataset costs beside writing its bytes, and how much memory it takes.

python -m benchmarks.assemble            800 rows with 2,400 images of 300 KB; a minute
python -m benchmarks.assemble --quick    a quarter of them

`assemble` reads and hashes every image, encodes Parquet, reads that back, hashes it, draws and writes the card. The
other side writes the same bytes to one file and waits until they are on the disk. The images are noise, which nothing
compresses. Memory is that of a process that does nothing but assemble.

How memory grows is measured on rows that lie in shards, as after a build, and share a few small images: 2,000 and ten
times as many are settled and assembled.
"""

from __future__ import annotations

import os
import pickle
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.sample_rows import FACTS, IMAGES_PER_ROW, apart, noise, sample_pictures, sample_row, sample_rows
from benchmarks.table import Measured, markdown
from mis_dataset.assemble import Chosen, assemble
from mis_dataset.assemble.parquet import MAX_GROUP_BYTES
from mis_dataset.decontaminate import Benchmarks
from mis_dataset.recipe import load_recipe
from mis_dataset.records import Screened
from mis_dataset.resources import resource
from mis_dataset.run.images import ImageStore
from mis_dataset.run.rows import Rows
from mis_dataset.run.shards import Item, ShardStore
from mis_dataset.run.stage import Shards
from mis_dataset.settle import settle

_ROWS = 800
_SIDE = 320
_FEW, _SHARD = 2_000, 500
_MEGABYTE = 1_000_000
_CHUNK = 1 << 20


def measure(repeats: int = 5, quick: bool = False) -> list[Measured]:
    """The ratio of the times, and the peak of memory."""
    count = _ROWS // 4 if quick else _ROWS
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = sample_rows(ImageStore(folder / "images"), noise(_SIDE, count * IMAGES_PER_ROW), count)
        (folder / "rows.pickle").write_bytes(pickle.dumps(rows))
        ratios = list[float]()
        for _ in range(repeats):
            seconds = _seconds(lambda: assemble(rows, FACTS, folder / "images", folder / "mis"))
            ratios.append(seconds / _seconds(lambda: _write_plainly(folder / "mis", folder / "plain")))
        size = sum(path.stat().st_size for path in (folder / "mis").rglob("*.parquet"))
        peaks = [_peak(folder) for _ in range(repeats)]
    return [
        Measured(
            "assemble: write ÷ write+fsync of the same bytes",
            statistics.median(ratios),
            1.5,
            remark=f"{min(ratios):.3g} to {max(ratios):.3g}; {size / seconds / _MEGABYTE:,.0f} MB/s",
        ),
        Measured(
            "assemble: peak memory of the process",
            statistics.median(peaks) / _MEGABYTE,
            3 * MAX_GROUP_BYTES / _MEGABYTE + 300,
            unit=" MB",
            remark=f"{size / _MEGABYTE:,.0f} MB of Parquet in row groups of {MAX_GROUP_BYTES / _MEGABYTE:.0f} MB",
        ),
        _growth(_FEW // 4 if quick else _FEW),
    ]


def _growth(few: int) -> Measured:
    """What ten times as many rows do to the memory that settling and assembling take."""
    peaks: list[int] = []
    for count in (few, 10 * few):
        with TemporaryDirectory() as name:
            _fill(Path(name), count)
            peaks.append(_peak(Path(name), "--settle"))
    few_bytes, many_bytes = peaks
    return Measured(
        f"settle and assemble: peak memory of {10 * few:,} rows ÷ of {few:,}",
        many_bytes / few_bytes,
        1.2,
        remark=f"{many_bytes / _MEGABYTE:,.0f} MB ÷ {few_bytes / _MEGABYTE:,.0f} MB",
    )


def _fill(folder: Path, count: int) -> None:
    """Shards of rows of which none is too near another, a shard at a time, and their images."""
    shards = _shards(folder, count)
    pictures = sample_pictures(ImageStore(folder / "images"), noise(32, 12))
    for number in range(len(shards.upstream)):
        places = range(number * _SHARD, min(count, (number + 1) * _SHARD))
        rows = (apart(sample_row(place, pictures)) for place in places)
        shards.store.write(number, [Item(row.scenario.id, row) for row in rows], "")


def _shards(folder: Path, count: int) -> Shards[Screened]:
    return Shards(ShardStore("screen", folder / "screen", Screened), ("",) * ceil(count / _SHARD))


def _write_plainly(dataset: Path, target: Path) -> None:
    """Write the bytes of a dataset's Parquet files to one file, and see them to the disk."""
    with target.open("wb") as copy:
        for path in sorted(dataset.rglob("*.parquet")):
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    target.unlink()


def _peak(folder: Path, what: str = "--alone") -> int:
    """The most memory, in bytes, that a process takes which assembles the rows, or settles them before."""
    command = [sys.executable, "-m", "benchmarks.assemble", what, str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _assemble_alone(folder: Path) -> None:
    """Assemble rows, and print the most memory that this took, in bytes."""
    rows = pickle.loads((folder / "rows.pickle").read_bytes())
    assemble(rows, FACTS, folder / "images", folder / "mis")
    _tell_peak()


def _settle_alone(folder: Path) -> None:
    """Settle and assemble what lies in shards, and print the most memory that this took, in bytes."""
    rows = Rows([_shards(folder, len(list(folder.glob("screen/shard-*"))) * _SHARD)])
    recipe = load_recipe(resource("builder_scripts", "preview.toml"))
    settled = settle(rows, recipe, Benchmarks([]), {("hard", "Property Crimes"): len(rows)})
    assemble(Chosen(settled.chosen.rows, rows), FACTS, folder / "images", folder / "mis")
    _tell_peak()


def _tell_peak() -> None:
    # Not `getrusage`, which counts what the process took that started this one.
    status = Path("/proc/self/status").read_text()
    print(int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024)


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        _assemble_alone(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["--settle"]:
        _settle_alone(Path(sys.argv[2]))
    else:
        print(markdown(measure(quick="--quick" in sys.argv)))
