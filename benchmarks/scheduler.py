"""What the scheduler comes to with a thousand workers, stragglers and lost machines: the tables of docs/scale.md.

python -m benchmarks.scheduler            about four minutes on an idle core
python -m benchmarks.scheduler --quick    a tenth of the rows
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.simulation import CALM, HOUR, POOLS, Job, Outcome, Trouble, simulate
from benchmarks.table import argument_parser

SEEDS = 3
"""Every figure is the median of as many runs."""
SIZES = (4, 8, 16, 32, 64, 128, 256)
FORGETFUL = replace(Trouble(), batch=None)
SIZE_COLUMNS = (
    "families a shard",
    "shards",
    "minutes of a GPU",
    "makespan ÷ bound",
    "GPUs busy",
    "ending",
    "repeated",
    "… nothing kept",
    "with copies",
)
WIDTHS = ((10_000, 100), (100_000, 10), (100_000, 100), (100_000, 1_000), (1_000_000, 100), (1_000_000, 1_000))
"""Rows of a build, and workers in all."""
WIDTH_COLUMNS = ("rows", "workers", "shards a GPU", "hours", "makespan ÷ bound", "GPUs busy", "ending", "with copies")
CASE_COLUMNS = (
    "case",
    "makespan ÷ bound",
    "render busy",
    "teach busy",
    "screen busy",
    "repeated",
    "longest queue",
)


class Runs:
    """A job done with several seeds."""

    def __init__(self, job: Job) -> None:
        self._outcomes = [simulate(replace(job, seed=seed)) for seed in range(SEEDS)]

    def median(self, of: Callable[[Outcome], float]) -> float:
        """The middle one of what the outcomes have."""
        return statistics.median(map(of, self._outcomes))

    @property
    def ratio(self) -> str:
        """Makespan ÷ lower bound."""
        return f"{self.median(lambda outcome: outcome.ratio):.2f}"

    @property
    def ending(self) -> str:
        """The share of the makespan in which renderers run out of work."""
        return f"{self.median(lambda outcome: outcome.ending):.0%}"

    @property
    def repeated(self) -> str:
        """Work done more than once."""
        return f"{self.median(lambda outcome: outcome.repeated):.2%}"

    def busy(self, stage: int) -> str:
        """Of the workers of a stage."""
        return f"{self.median(lambda outcome: outcome.busy[stage]):.0%}"


def size_row(families: int, size: int) -> list[str]:
    """What a shard size comes to."""
    job = Job(families, size)
    usual, forgetful = Runs(job), Runs(replace(job, trouble=FORGETFUL))
    return [
        f"{size:,}",
        f"{math.ceil(families / size):,}",
        f"{(size * POOLS[0].seconds + POOLS[0].start_s) / 60:,.1f}",
        usual.ratio,
        usual.busy(0),
        usual.ending,
        usual.repeated,
        forgetful.repeated,
        Runs(replace(job, copies=True)).ratio,
    ]


def width_row(rows: int, workers: int) -> list[str]:
    """What it means for one build to have so many workers."""
    job = Job(rows // 2).with_workers(workers)
    usual = Runs(job)
    return [
        f"{rows:,}",
        f"{workers:,}",
        f"{math.ceil(job.families / job.shard_size) / job.pools[0].workers:,.1f}",
        f"{usual.median(lambda outcome: outcome.makespan_s) / HOUR:,.1f}",
        usual.ratio,
        usual.busy(0),
        usual.ending,
        Runs(replace(job, copies=True)).ratio,
    ]


def cases(families: int) -> dict[str, Job]:
    """What may be otherwise."""
    job = Job(families)
    render, teach, screen = POOLS
    usual = job.trouble
    return {
        "as assumed": job,
        "nothing goes wrong": replace(job, trouble=CALM),
        "no machine dies": replace(job, trouble=replace(usual, lifetime_s=math.inf)),
        "no shard straggles": replace(job, trouble=replace(usual, straggling=0.0)),
        "machines live for 2 hours": replace(job, trouble=replace(usual, lifetime_s=2 * HOUR)),
        "teaching servers take half": replace(job, pools=(render, replace(teach, rate=teach.rate / 2), screen)),
        "50 teachers": replace(job, pools=(render, replace(teach, workers=50), screen)),
        "belts of 10 shards": replace(job, belt=10),
        "50 ms to hand out a shard": replace(job, dispatch_s=0.05),
    }


def case_row(name: str, job: Job) -> list[str]:
    """What a case comes to; the bound is the case's own."""
    runs = Runs(job)
    busy = [runs.busy(stage) for stage in range(len(job.pools))]
    queue = runs.median(lambda outcome: outcome.longest_queue)
    return [name, runs.ratio, *busy, runs.repeated, f"{queue:,.0f}"]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column may be words, the others are numbers."""
    ruler = ["---" if rows[0][0][0].isalpha() else "---:", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ruler, *rows))


def main() -> None:
    """Print the tables."""
    parser = argument_parser("benchmarks.scheduler", __doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    families = 50_000 if parser.parse_args().quick else 500_000
    print(f"{2 * families:,} rows, {sum(pool.workers for pool in POOLS):,} workers\n")
    print(markdown(SIZE_COLUMNS, [size_row(families, size) for size in SIZES]) + "\n")
    print(markdown(WIDTH_COLUMNS, [width_row(rows, workers) for rows, workers in WIDTHS]) + "\n")
    print(markdown(CASE_COLUMNS, [case_row(name, job) for name, job in cases(families).items()]))


if __name__ == "__main__":
    main()
