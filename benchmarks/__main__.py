"""Measure everything and print one table of ratios, each taken within one run.

python -m benchmarks            half an hour on two idle cores; medians of five
python -m benchmarks --quick    some ten minutes: less work, medians of three, and fixed costs weigh more
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks.table import Measured, argument_parser, markdown
from mis_dataset import __version__

MODULES = ("pipeline", "chat_client", "near_duplicates", "validate", "assemble", "diffusion")


def main() -> None:
    """Measure and print."""
    parser = argument_parser("benchmarks", __doc__)
    parser.add_argument("--quick", action="store_true", help="less work, medians of three")
    parser.add_argument("only", nargs="*", metavar="MODULE", help=f"some of: {', '.join(MODULES)}")
    chosen = parser.parse_args()
    if unknown := set(chosen.only) - set(MODULES):
        parser.error(f"there is no {', '.join(sorted(unknown))} here; there are {', '.join(MODULES)}")
    rows: list[Measured] = []
    for name in chosen.only or MODULES:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        measure: Callable[[int, bool], list[Measured]] = import_module(f"benchmarks.{name}").measure
        rows += measure(3 if chosen.quick else 5, chosen.quick)
    print(f"mis-dataset {__version__}, Python {platform.python_version()}, {_processor()}\n\n{markdown(rows)}")


def _processor() -> str:
    """The processor's name, where the system tells it, and how many cores there are."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        told = ""
    name = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)
    return f"{name[1] if name else platform.machine()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
