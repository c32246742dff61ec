"""Backends of a laboratory of one's own, for builds in which something runs short; a recipe names them ``lab:Picky``."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from mis_dataset.chat import Ask
from mis_dataset.compose import Brief
from mis_dataset.compose.grammar import GrammarComposer
from mis_dataset.errors import MisError
from mis_dataset.options import option
from mis_dataset.records import Labelled, Rejected, Scenario, Verdict
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.seeds import stable_random
from mis_dataset.teach import LabelRequest


@dataclass(frozen=True, kw_only=True)
class Few:
    """Composes by the grammar, and soon has no more."""

    families: int = option(doc="What there is of every cell.", minimum=0)

    def compose(self, brief: Brief) -> Iterator[tuple[Scenario, ...]]:
        told: Counter[tuple[str, str]] = Counter()
        for family in GrammarComposer().compose(brief):
            cell = family[0].subset, family[0].sub_category
            if told[cell] < self.families:
                told[cell] += 1
                yield family


@dataclass(frozen=True, kw_only=True)
class Accelerated:
    """Draws coloured noise on what it says is a GPU."""

    wants_gpu: ClassVar[bool] = True

    seconds: float = option(0.001, "Taken by each image at the least.", maximum=0.01)
    log: str = option("", "A file that gets the seed of every image that is drawn.", tuning=True)

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        for order in orders:
            _note(self.log, str(order.seed))
            time.sleep(self.seconds)
            noise = stable_random(order.seed).randbytes(16 * 16 * 3)
            yield Drawing(Image.frombytes("RGB", (16, 16), noise), model="noise", revision="1", device="cuda")


@dataclass(frozen=True, kw_only=True)
class Sleepy:
    """Draws coloured noise, and takes its time; on a CPU."""

    side: int = option(16, "Pixels.", minimum=1)
    seconds: float = option(0.05, "Slept for each image.", minimum=0, tuning=True)
    log: str = option("", "A file that gets the seed of every image that is drawn.", tuning=True)

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        for order in orders:
            _note(self.log, str(order.seed))
            time.sleep(self.seconds)
            noise = stable_random(order.seed).randbytes(self.side * self.side * 3)
            yield Drawing(Image.frombytes("RGB", (self.side, self.side), noise), model="noise", revision="1")


@dataclass(frozen=True, kw_only=True)
class Wordy:
    """Teaches nothing, but says what it would ask: its own source twice, once a row, with all images."""

    asks: ClassVar[tuple[Ask, ...]] = (Ask("row", (Path(__file__), Path(__file__)), 50, "all"),)

    model: str = option(doc="What costs name it.")

    def teach(self, requests: Sequence[LabelRequest]) -> Iterator[Rejected]:
        return (Rejected("refused", "It only plans.") for _ in requests)


@dataclass(frozen=True, kw_only=True)
class Picky:
    """Lets pass few families of one sub-category, chosen by a hash of their names, and all of the others."""

    sub_category: str = option("", "Where it is picky; empty: nowhere.")
    share: float = option(0.25, "What passes there.", minimum=0, maximum=1)
    log: str = option("", "A file that gets the name of every row that is seen.", tuning=True)
    stops_after: int = option(0, "So many lines in the log make it fail for good; 0: none do.", tuning=True)

    def screen(self, rows: Sequence[Labelled]) -> Iterator[Verdict]:
        for row in rows:
            _note(self.log, row.scenario.id)
            if self.stops_after and len(seen(Path(self.log))) >= self.stops_after:
                raise MisError("the screener stumbles")
            passes = row.scenario.sub_category != self.sub_category or self._likes(row.scenario)
            yield Verdict("picky", "pass", "", "") if passes else Verdict("picky", "fail", "unlucky", "No luck.")

    def _likes(self, scenario: Scenario) -> bool:
        return stable_random("picky", scenario.family).random() < self.share


def seen(log: Path) -> list[str]:
    """The rows that a screener has seen, or the seeds of what a renderer has drawn, in order."""
    return log.read_text().split() if log.exists() else []


def _note(log: str, name: str) -> None:
    if log:
        with Path(log).open("a") as lines:
            lines.write(f"{name}\n")


@dataclass(frozen=True, kw_only=True)
class Album:
    """Says that it finds photographs; it makes noise up."""

    finds_photographs: ClassVar[bool] = True

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        for order in orders:
            noise = stable_random(order.seed).randbytes(64 * 64 * 3)
            yield Drawing(Image.frombytes("RGB", (64, 64), noise), model="album", revision="1", source=order.object)
