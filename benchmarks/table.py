"""One table for all that is measured: a value beside its bar."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A ratio, taken within one run, and what it should be."""

    what: str
    value: float
    bar: float
    is_at_most: bool = True
    """Whether the bar is an upper bound; else it is a lower one."""
    unit: str = ""
    remark: str = ""
    """Why a bar is missed, or what a reader should know of the number."""

    @property
    def is_met(self) -> bool:
        """Whether the value is on the right side of its bar."""
        return self.value <= self.bar if self.is_at_most else self.value >= self.bar


def markdown(rows: Iterable[Measured]) -> str:
    """The table: what was measured, the value, the bar, and whether it is met."""
    lines = ["| what | measured | bar | met | remark |", "| --- | ---: | ---: | --- | --- |"]
    for row in rows:
        sign = "≤" if row.is_at_most else "≥"
        met = "yes" if row.is_met else "**no**"
        lines.append(
            f"| {row.what} | {row.value:.3g}{row.unit} | {sign} {row.bar:g}{row.unit} | {met} | {row.remark} |"
        )
    return "\n".join(lines)


def argument_parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for ``python -m MODULE`` whose help is the module's docstring as it stands."""
    layout = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=f"python -m {module}", description=doc, formatter_class=layout)
