"""Where a shard is made: an engine, of which the local one makes it right here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from mis_dataset.ledger import Ledger, keeping_ledger
from mis_dataset.recipe import Recipe
from mis_dataset.run.belt import Piece
from mis_dataset.run.draw import Tick
from mis_dataset.run.place import Place
from mis_dataset.run.workbench import Workbench


class Engine(Protocol):
    """Has shards made, on this machine or on others. Same recipe, same bytes, whichever makes them."""

    ledger: Ledger
    """Keeps the answers and drawings of the build, wherever they are made."""

    def width(self, stage: str, /) -> int:
        """How many shards of a stage are made at the same time."""

    def make(self, bench: Workbench, stage: str, source: Piece, tick: Tick) -> Piece:
        """Have a stage's shard made of another, as ``bench`` would make it; called from several threads.

        Raises:
            MisError: it cannot be made; what was paid for on the way is kept.
        """


EngineKind = Callable[[Recipe, Place], AbstractContextManager[Engine]]
"""Opens an engine, and the ledger of the place, for a build of a recipe; closing it ends its workers."""

LEDGER = "ledger.sqlite"
"""The ledger's file in a work folder."""


class LocalEngine:
    """Makes shards in this process, one of each stage at a time.

    Args:
        ledger: of the work folder.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def width(self, _: str, /) -> int:
        """One: a renderer fills its device, and a client keeps as many requests in flight as its server bears."""
        return 1

    def make(self, bench: Workbench, stage: str, source: Piece, tick: Tick) -> Piece:
        """Make it here and now; raises as `Engine.make` does."""
        return bench.make(stage, source, tick)


@contextmanager
def local_engine(recipe: Recipe, place: Place) -> Iterator[Engine]:
    """The local engine, for a build of a recipe."""
    with keeping_ledger(place.work / LEDGER, recipe.prices, recipe.limits) as ledger:
        yield LocalEngine(ledger)
