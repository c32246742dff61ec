"""Run the miniature and print its tables.

python -m benchmarks.miniature              three seeds, side by side; about half an hour on two cores
python -m benchmarks.miniature --quick      one seed of a smaller world: does learning happen?
"""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.miniature.machine import Machine
from benchmarks.miniature.outcome import save
from benchmarks.miniature.report import DIETS, REST, examples, not_learned, seeds_table, table
from benchmarks.miniature.run import FULL, QUICK, Lab, tell


def main() -> int:
    """Parse the command line, run, and print; 1 if a quick run finds that nothing is learned, 130 if interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.miniature", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smaller world, and one seed unless told otherwise")
    parser.add_argument("--validate", action="store_true", help="compare on the rows that settings are chosen by")
    parser.add_argument("--seeds", type=int, help="how many; 3 by default")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: cuda if there is one")
    parser.add_argument("--work", type=Path, help="where finished work is kept; build/miniature by default")
    chosen = parser.parse_args()
    work = chosen.work or Path("build", "miniature-quick" if chosen.quick else "miniature")
    seeds = range(chosen.seeds or (1 if chosen.quick else 3))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(chosen.quick, chosen.validate, seeds, work, Machine.find(chosen.device))
    except KeyboardInterrupt:
        print(f"interrupted; models that are done are kept in {work}; run the same command to go on", file=sys.stderr)
        return 130


def _run(quick: bool, validate: bool, seeds: range, work: Path, machine: Machine) -> int:
    plan = replace(QUICK if quick else FULL, validating=validate)
    lab = Lab(plan, plan.rows(work), work, machine, tell)
    rows = lab.rows.held_out
    tell(f"{len(lab.rows.learned)} rows to learn from, {len(rows)} held out, {len(lab.things)} things")
    scores = lab.all_scores(seeds)
    save(scores, work / "scores.json")
    print(f"{len(rows)} {'validation' if validate else 'held-out'} rows, {len(seeds)} seeds; {machine}")
    print("Per cent, 95% intervals")
    for diet, _ in plan.diets:
        print(f"\n{DIETS[diet]}\n\n{table(scores, rows, diet)}\n\nThe rest\n\n{table(scores, rows, diet, REST)}")
        print(f"\nLowest and highest over the seeds\n\n{seeds_table(scores, rows, diet)}")
        print(f"\n{examples(scores, rows, diet)}")
    missing = not_learned(scores, rows) if quick else []
    for text in missing:
        print(f"not learned: {text}", file=sys.stderr)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
