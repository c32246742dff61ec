"""Composing into shards: what is finished stays, what failed in passing is tried again."""

from collections.abc import Iterator
from pathlib import Path

from scenarios import scenario

from mis_dataset.compose import Dropped
from mis_dataset.ledger import Ledger
from mis_dataset.records import Failed, Rejected, Scenario
from mis_dataset.run.line import Line
from mis_dataset.run.local import LocalEngine
from mis_dataset.run.progress import Silent
from mis_dataset.run.stage import Shards
from mis_dataset.run.workbench import Workbench

Entry = tuple[Scenario, ...] | Dropped


def source(work: Path, families: Iterator[Entry]) -> Shards[Scenario]:
    engine = LocalEngine(Ledger(work / "ledger.sqlite"))
    bench = Workbench(work, {"compose": "c" * 64}, [], engine.ledger, print)
    (composed,) = Line(bench, engine, Silent()).run(families, 2)
    return composed


def never() -> Iterator[Entry]:
    raise AssertionError("composed again")
    yield


def outcomes(shards: Shards[Scenario]) -> list[object]:
    return [item.outcome for item in shards.items()]


def test_finished_composition_is_not_made_again(tmp_path: Path):
    first = source(tmp_path, iter([(scenario(),), Dropped("seed#1", Rejected("not_harmful", "Fine."))]))
    assert outcomes(source(tmp_path, never())) == outcomes(first)


def test_seeds_that_failed_in_passing_are_tried_again(tmp_path: Path):
    source(tmp_path, iter([Dropped("seed#1", Failed("server_error", "503"))]))
    again = source(tmp_path, iter([(scenario(),)]))
    assert outcomes(again) == [scenario()]


def test_a_seed_that_fails_for_good_is_left_alone(tmp_path: Path):
    source(tmp_path, iter([Dropped("seed#1", Failed("cannot_judge", "No."))]))
    assert outcomes(source(tmp_path, never())) == [Failed("cannot_judge", "No.")]
