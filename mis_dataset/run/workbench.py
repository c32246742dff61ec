"""The workbench: makes single shards, and says which are finished. It knows nothing of order, threads or machines."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mis_dataset.compose import Dropped
from mis_dataset.ledger import Ledger
from mis_dataset.records import Scenario
from mis_dataset.run.belt import Piece
from mis_dataset.run.draw import Tick
from mis_dataset.run.shards import Item, Outcome, ShardError, ShardStore, write_whole
from mis_dataset.run.stage import Shards, Stage, accepted, passing_failures
from mis_dataset.run.state import stage_folder

Families = Iterable["tuple[Scenario, ...] | Dropped"]


class Workbench:
    """The stages of one round over the shards of one place; safe to use from several threads.

    Args:
        store: where finished work lies, ``<stage>-<fingerprint>/shard-*.parquet``.
        prints: the fingerprint of each stage, that of ``compose`` included; an attribute, too.
        stages: the stages after ``compose``, in order; each works on the shards of the one before it.
        ledger: keeps answers and drawings, and what each stage costs.
        note: is told what a person should know, such as work that is done again.
    """

    def __init__(
        self,
        store: Path,
        prints: Mapping[str, str],
        stages: Sequence[Stage[Any, Any]],
        ledger: Ledger,
        note: Callable[[str], None],
    ) -> None:
        self.prints = prints
        self._ledger = ledger
        self._note = note
        self._work = {stage.name: stage for stage in stages}
        records = {"compose": Scenario} | {stage.name: stage.record for stage in stages}
        self._stores: dict[str, ShardStore[Any]] = {
            name: ShardStore(name, stage_folder(store, name, prints[name]), record) for name, record in records.items()
        }
        self.stages = tuple(self._stores)
        """The names of all stages, ``compose`` first."""
        # In the order of the stages, whichever happens to pay first.
        for shards in self._stores.values():
            ledger.open(shards.folder.name)

    def shards(self, stage: str, upstream: Sequence[str]) -> Shards[Any]:
        """A stage that is complete; ``upstream`` is what each of its shards was made from."""
        return Shards(self._stores[stage], tuple(upstream))

    def composed(self) -> list[Piece] | None:
        """All shards of a finished composition; None if there is none that can stay."""
        store = self._stores["compose"]
        plan = store.folder / "plan.json"
        if not plan.exists():
            return None
        try:
            shards = range(json.loads(plan.read_text(encoding="utf-8"))["shards"])
            outcomes = [store.checked(number, "") for number in shards]
        except ShardError as error:
            self._note(f"composing again: {error.what}")
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._note(f"composing again: {plan} and its shards are not whole ({error})")
            return None
        if failed := passing_failures(sum(outcomes, Counter[Outcome]())):
            self._note(f"compose: {failed} seeds failed; they are tried again")
            return None
        return [self._piece(store, number, found) for number, found in enumerate(outcomes)]

    def compose(self, families: Families, shard_size: int) -> Iterator[Piece]:
        """Cut composed families into shards; ``plan.json`` appears last and names their number.

        A composition that was cut short is made again from its start and comes out the same: the grammar is quick, and
        the answers of a composing model are kept.
        """
        store, remaining, number = self._stores["compose"], iter(families), 0
        with self._ledger.charging(store.folder.name):
            while group := list(itertools.islice(remaining, shard_size)):
                items = [item for entry in group for item in _composed(entry)]
                store.write(number, items, "")
                yield self._piece(store, number, store.outcomes(number, ""))
                number += 1
        write_whole(store.folder / "plan.json", json.dumps({"shards": number}).encode())

    def find(self, stage: str, source: Piece) -> Piece | None:
        """The shard that a stage made of another before; None if there is none that can stay."""
        store, number = self._stores[stage], source.number
        try:
            outcomes = store.checked(number, source.digest)
            gone = self._gone(stage, source)
        except FileNotFoundError:
            return None
        except ShardError as error:
            self._note(f"{stage}: {error.what}; it is made again")
            return None
        if failed := passing_failures(outcomes):
            # Answers that came before are kept and cost nothing.
            self._note(f"{stage}: shard {number} has {failed} items that failed; they are tried again")
            return None
        if gone:
            listed = ", ".join(gone[:3]) + (" …" if len(gone) > 3 else "")
            self._note(f"{stage}: shard {number} refers to files that are missing ({listed}); it is made again")
            return None
        return self._piece(store, number, outcomes)

    def make(self, stage: str, source: Piece, tick: Tick) -> Piece:
        """Make a stage's shard of another.

        Raises:
            MisError: it cannot be made; what was paid for on the way is kept.
        """
        before = self._stores[self.stages[self.stages.index(stage) - 1]]
        store, number = self._stores[stage], source.number
        with self._ledger.charging(store.folder.name):
            records = accepted(before.read(number, None))
            store.write(number, list(self._work[stage].work(records, tick)), source.digest)
        return self._piece(store, number, store.outcomes(number, source.digest))

    def _gone(self, stage: str, source: Piece) -> list[str]:
        lacks = self._work[stage].lacks
        return lacks(self._stores[stage].pictures(source.number, source.digest)) if lacks else []

    @staticmethod
    def _piece(store: ShardStore[Any], number: int, outcomes: Counter[Outcome]) -> Piece:
        return Piece(number, store.digest(number), outcomes)


def _composed(entry: tuple[Scenario, ...] | Dropped) -> list[Item[Scenario]]:
    if isinstance(entry, Dropped):
        return [Item(entry.id, entry.outcome)]
    return [Item(scenario.id, scenario) for scenario in entry]
