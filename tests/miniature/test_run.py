from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.miniature.data import RECIPE, Rows
from benchmarks.miniature.machine import Machine
from benchmarks.miniature.outcome import save
from benchmarks.miniature.run import Lab, Plan
from mis_dataset.recipe import load_recipe

# As little of everything as there can be; rows without images are the odd ones out for TRL, so they are tried.
PLAN = Plan(drawings=1, tower_steps=1, base_steps=1, epochs=1, diets=(("in_kind", "d"),))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    rows = PLAN.rows(tmp_path_factory.mktemp("rows"), load_recipe(RECIPE).limited(40))
    return Rows(rows.published[:4], rows.in_kind[:4], rows.held_out[:4])


def test_a_seed_is_run_once_and_kept(rows: Rows, tmp_path: Path):
    said: list[str] = []
    lab = Lab(PLAN, rows, tmp_path, Machine("cpu"), said.append)
    scores = lab.scores(0)
    assert [(score.diet, score.variant) for score in scores] == [("", "base"), ("in_kind", "d")]
    assert all(set(score.outcomes) == {row.id for row in rows.held_out} for score in scores)

    said.clear()
    assert lab.scores(0) == scores
    assert said == []


def test_after_an_interruption_only_what_is_missing_is_made(rows: Rows, tmp_path: Path):
    said: list[str] = []
    lab = Lab(PLAN, rows, tmp_path, Machine("cpu"), said.append)
    scores = lab.scores(0)
    save(scores[:1], lab.kept(0))

    said.clear()
    assert lab.scores(0) == scores
    assert len(said) == 1


def test_what_another_plan_or_machine_made_is_not_taken_for_this_ones(rows: Rows, tmp_path: Path):
    lab = Lab(PLAN, rows, tmp_path, Machine("cpu"), print)
    others = [replace(lab, plan=replace(PLAN, lr=2e-3)), replace(lab, machine=Machine("cpu", bf16=True))]
    files = {one.kept(0) for one in (lab, *others)}

    assert len(files) == 3


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_seeds_come_to_the_same_side_by_side(rows: Rows, tmp_path: Path):
    plan = replace(PLAN, diets=())
    alone = Lab(plan, rows, tmp_path / "alone", Machine("cpu"), print)
    together = replace(alone, work=tmp_path / "together")
    for lab in (alone, together):
        lab.work.mkdir()

    assert together.all_scores([0, 1])[1:] == alone.scores(1)


def test_a_plan_keeps_the_relations_that_it_names(world: Rows):
    relation = world.held_out[0].relation
    kept = Plan(relations=(relation,)).keep(world)

    assert {row.relation for row in kept.learned + kept.held_out} == {relation}
    assert len(kept.held_out) == sum(row.relation == relation for row in world.held_out)
