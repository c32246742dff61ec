"""The assembly line: stages overlap, none runs far ahead, and one that stops stops all."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scenarios import scenario

from mis_dataset.errors import MisError, ServerAuthError, ServerUnreachableError
from mis_dataset.ledger import Ledger
from mis_dataset.records import Rejected, Scenario
from mis_dataset.run.draw import Tick
from mis_dataset.run.line import Line
from mis_dataset.run.local import LocalEngine
from mis_dataset.run.post import PostState
from mis_dataset.run.progress import Silent
from mis_dataset.run.shards import Item
from mis_dataset.run.stage import Stage
from mis_dataset.run.workbench import Workbench
from mis_dataset.stopping import stop_check

PATIENCE_S = 30.0
"""For what comes within milliseconds, or never."""

Work = Callable[[Sequence[Scenario], Tick], Iterator[Item[Scenario]]]


def passing(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
    """Let every row pass."""
    for row in rows:
        tick(1 / len(rows))
        yield Item(row.id, row)


@dataclass
class Diary(Silent):
    """Remembers what it is told."""

    told: dict[str, str] = field(default_factory=dict)
    totals: dict[str, list[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    states: Sequence[PostState] = ()

    def expect(self, stage: str, total: int) -> None:
        self.totals.setdefault(stage, []).append(total)

    def finish(self, stage: str, summary: str) -> None:
        self.told[stage] = summary

    def note(self, message: str) -> None:
        self.notes.append(message)

    def pulse(self, states: Sequence[PostState]) -> None:
        self.states = states


class WideEngine(LocalEngine):
    """Makes several shards of ``render`` at the same time."""

    def width(self, stage: str, /) -> int:
        return 8 if stage == "render" else 1


@dataclass
class Hall:
    """A line of ``render`` and ``teach`` over single scenarios, one a shard."""

    work: Path
    render: Work = passing
    teach: Work = passing
    diary: Diary = field(default_factory=Diary)
    engine: type[LocalEngine] = LocalEngine

    def run(
        self, families: Iterator[tuple[Scenario, ...]], *, shard_size: int = 1, expected: int | None = None
    ) -> list[list[str]]:
        """Run it; the ids of every stage."""
        stages = [Stage("render", Scenario, self.render), Stage("teach", Scenario, self.teach)]
        prints = dict.fromkeys(("compose", "render", "teach"), "abc")
        ledger = Ledger(self.work / "ledger.sqlite")
        bench = Workbench(self.work, prints, stages, ledger, self.diary.note)
        made = Line(bench, self.engine(ledger), self.diary, expected).run(families, shard_size)
        return [list(shards.ids()) for shards in made]

    def left(self) -> set[str]:
        """What stages have left on disk: ``render/0``."""
        return {f"{path.parent.name.partition('-')[0]}/{int(path.stem[6:])}" for path in self.work.glob("*/shard-*")}


def families(count: int) -> Iterator[tuple[Scenario, ...]]:
    return ((scenario(number),) for number in range(count))


def others() -> set[int]:
    """All threads but this one, as the system knows them: Python has taken living ones for ended."""
    return set(sys._current_frames()) - {threading.get_ident()}


def test_everything_goes_through_in_order(tmp_path: Path):
    ids = [scenario(number).id for number in range(20)]
    hall = Hall(tmp_path)
    assert hall.run(families(20), shard_size=3) == [ids, ids, ids]
    assert hall.diary.told == dict.fromkeys(("compose", "render", "teach"), "20 accepted")
    assert all(state.is_complete and state.made == pytest.approx(20) for state in hall.diary.states)


def test_the_teacher_labels_a_shard_while_the_renderer_draws_the_next(tmp_path: Path):
    # Each waits for the other within the second shard: one after the other, they would wait for ever.
    drawing, teaching = threading.Event(), threading.Event()

    def render(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        if rows[0].id == scenario(1).id:
            drawing.set()
            assert teaching.wait(PATIENCE_S)
        return passing(rows, tick)

    def teach(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        if rows[0].id == scenario(0).id:
            teaching.set()
            assert drawing.wait(PATIENCE_S)
        return passing(rows, tick)

    assert len(Hall(tmp_path, render, teach).run(families(3))[-1]) == 3


def test_a_slow_stage_holds_the_others_back(tmp_path: Path):
    belt, width = 4, 1
    drawn: list[str] = []
    ahead: list[int] = []
    is_full = threading.Event()

    def render(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        drawn.append(rows[0].id)
        if len(drawn) == belt + width + 1:
            is_full.set()
        return passing(rows, tick)

    def teach(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        # It begins when the renderer has done all that it may, and no sooner.
        assert is_full.wait(PATIENCE_S)
        if not ahead:
            threading.Event().wait(0.2)
        ahead.append(len(drawn) - len(ahead))
        return passing(rows, tick)

    def composing() -> Iterator[tuple[Scenario, ...]]:
        for number, family in enumerate(families(40)):
            # On its belt, at the renderer's, and one in the hand.
            assert number <= len(drawn) + belt + width + 1
            yield family

    assert len(Hall(tmp_path, render, teach).run(composing())[-1]) == 40
    # On the belt, before the teacher, and one more that is drawn and waits for room.
    assert ahead[0] == belt + width + 1
    assert max(ahead) <= belt + width + 1


@pytest.mark.parametrize("stage", ["compose", "render", "teach"])
def test_an_error_in_one_stage_stops_the_others_and_is_the_one_that_is_raised(tmp_path: Path, stage: str):
    def failing(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        if rows[0].id == scenario(3).id:
            raise ServerAuthError("the key is gone")
        return passing(rows, tick)

    def composing() -> Iterator[tuple[Scenario, ...]]:
        for family in families(1000):
            if stage == "compose" and family[0].id == scenario(3).id:
                raise ServerAuthError("the key is gone")
            yield family

    before = others()
    hall = Hall(tmp_path, **{stage: failing} if stage != "compose" else {})
    with pytest.raises(ServerAuthError, match="the key is gone"):
        hall.run(composing())
    assert others() <= before
    assert hall.left() >= {"compose/0", "compose/1", "compose/2"}
    assert len(hall.left()) < 40
    assert not any(state.is_complete for state in hall.diary.states if state.stage != "compose")


def test_those_who_work_beside_one_that_lost_its_server_finish_what_they_have(tmp_path: Path):
    at_work = threading.Barrier(8)

    def render(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        at_work.wait(PATIENCE_S)
        if rows[0].id == scenario(0).id:
            raise ServerUnreachableError("nobody answers")
        # By now the next stage has nothing left to wait for.
        threading.Event().wait(0.2)
        return passing(rows, tick)

    hall, errors = Hall(tmp_path, render, engine=WideEngine), list[str]()

    def run() -> None:
        try:
            hall.run(families(8))
        except ServerUnreachableError as error:
            errors.append(str(error))

    line = threading.Thread(target=run, daemon=True)
    line.start()
    line.join(PATIENCE_S / 3)
    assert errors == ["nobody answers"]
    assert {f"render/{number}" for number in range(1, 8)} <= hall.left()


def test_only_the_first_error_is_raised(tmp_path: Path):
    drawing = threading.Event()

    def render(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        if rows[0].id != scenario(0).id:
            drawing.set()
            # The line's own way to say that it stops; on it, this stage fails, too.
            try:
                while True:
                    tick(0)
            finally:
                raise MisError("the second")
        return passing(rows, tick)

    def teach(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        assert drawing.wait(PATIENCE_S)
        raise MisError("the first")

    with pytest.raises(MisError, match="the first"):
        Hall(tmp_path, render, teach).run(families(5))


def test_what_is_not_foreseen_reaches_the_caller_as_it_is(tmp_path: Path):
    def teach(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Hall(tmp_path, teach=teach).run(families(5))


def test_ctrl_c_ends_all_stages_within_a_row(tmp_path: Path):
    seen: list[str] = []

    def teach(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        os.kill(os.getpid(), signal.SIGINT)
        for row in rows:
            seen.append(row.id)
            # A row is never cut short; between rows the line may end.
            threading.Event().wait(0.1)
            tick(1 / len(rows))
            yield Item(row.id, row)

    before = others()
    hall = Hall(tmp_path, teach=teach)
    with pytest.raises(KeyboardInterrupt):
        hall.run(families(1000), shard_size=50)
    assert others() <= before
    assert [note for note in hall.diary.notes if note.startswith("stopping")]
    assert len(seen) < 20
    assert not any(name.startswith("teach") for name in hall.left())
    # What was finished is not made again.
    assert len(Hall(tmp_path).run(families(1000), shard_size=50)[-1]) == 1000


def test_a_stage_that_waits_hears_that_the_line_stops(tmp_path: Path):
    waited_in_vain: list[str] = []

    def teach(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        os.kill(os.getpid(), signal.SIGINT)
        check, until = stop_check(), time.monotonic() + PATIENCE_S / 3
        while time.monotonic() < until:
            check()
            threading.Event().wait(0.01)
        waited_in_vain.append(rows[0].id)
        return passing(rows, tick)

    before = others()
    hall = Hall(tmp_path, teach=teach)
    with pytest.raises(KeyboardInterrupt):
        hall.run(families(3))
    assert others() <= before
    assert waited_in_vain == []


def test_composing_ends_between_families(tmp_path: Path):
    # A composer that asks a server takes its time for each, and a shard has many.
    composed: list[str] = []

    def composing() -> Iterator[tuple[Scenario, ...]]:
        for family in families(1000):
            composed.append(family[0].id)
            if len(composed) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.05)
            yield family

    before = others()
    with pytest.raises(KeyboardInterrupt):
        Hall(tmp_path).run(composing(), shard_size=1000)
    assert others() <= before
    assert len(composed) < 20


def test_totals_shrink_by_what_earlier_stages_lose(tmp_path: Path):
    def render(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        return (
            Item(item.id, Rejected("blank", "all white") if item.id == scenario(2).id else item.outcome)
            for item in passing(rows, tick)
        )

    hall = Hall(tmp_path, render)
    assert len(hall.run(families(5))[-1]) == 4
    assert hall.diary.told["render"] == "4 accepted, 1 rejected (1 blank)"
    assert hall.diary.totals["teach"][-1] == 4
    assert hall.diary.totals["compose"] == [5]


def test_totals_are_reckoned_until_they_are_known(tmp_path: Path):
    seen: list[PostState] = []

    @dataclass
    class Watching(Diary):
        def pulse(self, states: Sequence[PostState]) -> None:
            seen.extend(state for state in states if state.stage == "teach")
            super().pulse(states)

    def composing() -> Iterator[tuple[Scenario, ...]]:
        for family in families(5):
            yield family
            until = time.monotonic() + PATIENCE_S
            while not seen and time.monotonic() < until:
                threading.Event().wait(0.01)

    hall = Hall(tmp_path, diary=Watching())
    hall.run(composing(), expected=3)
    assert (seen[0].total, seen[0].is_sure) == (3, False)
    # More came than was thought.
    assert hall.diary.totals["compose"] == [3, 4, 5]
    assert all((state.total, state.is_sure) == (5, True) for state in hall.diary.states)


def test_waiting_for_room_on_the_belt_is_no_work_of_the_composer(tmp_path: Path):
    def render(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        threading.Event().wait(0.05)
        return passing(rows, tick)

    hall = Hall(tmp_path, render)
    hall.run(families(20))
    compose, drawing, _ = hall.diary.states
    assert compose.busy_s < compose.elapsed_s / 2
    assert drawing.busy_s >= 20 * 0.05


def test_finished_shards_are_found_and_not_made(tmp_path: Path):
    def stumbling(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        if rows[0].id == scenario(4).id:
            raise MisError("it stumbles")
        return passing(rows, tick)

    made: list[str] = []

    def counting(rows: Sequence[Scenario], tick: Tick) -> Iterator[Item[Scenario]]:
        made.extend(row.id for row in rows)
        return passing(rows, tick)

    with pytest.raises(MisError, match="it stumbles"):
        Hall(tmp_path, teach=stumbling).run(families(6))
    hall = Hall(tmp_path, teach=counting)
    hall.run(families(6))
    assert made == [scenario(4).id, scenario(5).id]
    (teaching,) = (state for state in hall.diary.states if state.stage == "teach")
    assert (teaching.found, teaching.made) == (4, pytest.approx(2))
