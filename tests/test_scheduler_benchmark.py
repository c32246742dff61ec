"""The simulated scheduler: what it must never do, and what it must never be far from."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scheduler import WIDTH_COLUMNS, markdown, width_row
from benchmarks.simulation import CALM, Job, Pool, Trouble, simulate

DOCS = Path(__file__).parents[1] / "docs" / "scale.md"

POOLS = (
    Pool("render", 40, seconds=15.0, start_s=5.0),
    Pool("teach", 10, seconds=1.0, start_s=10.0, requests=4.0, rate=40.0),
    Pool("screen", 10, seconds=1.0, start_s=5.0, requests=12.0, rate=90.0),
)
JOB = Job(families=4_010, shard_size=16, pools=POOLS)
STORMY = Trouble(lifetime_s=1_500.0, restart_s=120.0, straggling=0.1)


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("batch", [4, None])
def test_every_shard_is_accepted_once_by_every_stage(copies: bool, batch: int | None):
    done = simulate(replace(JOB, trouble=replace(STORMY, batch=batch), copies=copies))
    assert done.repeated > 0  # machines did die, and that changes nothing:
    assert done.attempts > 3 * 251
    assert done.accepted == ((1,) * 251,) * 3


def test_without_trouble_the_slowest_stage_is_all_that_counts():
    done = simulate(replace(JOB, families=32_000, trouble=CALM))
    assert done.attempts == 3 * 2_000
    assert done.repeated == 0
    assert 1 <= done.ratio < 1.08


def test_nothing_is_shorter_than_the_bound():
    # Without spread no shard is quicker than the average, so the bound is one of every schedule.
    only_deaths = replace(STORMY, spread=0.0, straggling=0.0)
    for size in (1, 8, 64):
        assert simulate(replace(JOB, shard_size=size, trouble=only_deaths)).ratio >= 1


def test_a_server_that_takes_few_requests_sets_the_pace():
    render, teach, screen = POOLS
    slow = replace(JOB, pools=(render, replace(teach, rate=4.0), screen), trouble=CALM)
    assert slow.bound_s == 4_010 * 4 / 4.0
    assert 1 <= simulate(slow).ratio < 1.1


def test_same_seed_same_run():
    job = replace(JOB, trouble=STORMY, copies=True)
    assert simulate(job) == simulate(job)
    assert simulate(job).makespan_s != simulate(replace(job, seed=1)).makespan_s


@pytest.mark.parametrize("trouble", [CALM, Trouble(), STORMY])
def test_more_workers_are_never_much_slower(trouble: Trouble):
    job = replace(JOB, trouble=trouble)
    spans = [simulate(job.with_workers(workers)).makespan_s for workers in (15, 30, 60, 120, 240)]
    # Not "never": another order of events can give a straggler a later start.
    assert all(more <= 1.05 * fewer for fewer, more in itertools.pairwise(spans))
    assert spans[-1] < spans[0] / 3


def test_a_slow_stage_holds_the_ones_before_it_back():
    render, teach, screen = POOLS
    done = simulate(replace(JOB, pools=(render, replace(teach, workers=1), screen), belt=20, trouble=CALM))
    # Those who find no room hold one finished shard each.
    assert 20 < done.longest_queue <= 20 + render.workers
    assert done.busy[0] < 0.3


def test_writing_finished_work_down_saves_most_of_what_a_death_costs():
    job = replace(JOB, shard_size=128)
    kept, forgot = (simulate(replace(job, trouble=replace(STORMY, batch=batch))) for batch in (4, None))
    assert kept.repeated < forgot.repeated / 5


def test_a_second_copy_shortens_the_ending():
    slow_few = replace(CALM, straggling=0.05)
    job = replace(JOB, trouble=slow_few)
    once, twice = simulate(job), simulate(replace(job, copies=True))
    assert twice.makespan_s < 0.8 * once.makespan_s
    assert twice.repeated > once.repeated == 0


def test_factors_have_a_mean_of_one():
    # Else stragglers would add work, and the bound would not be one.
    one_worker = (Pool("render", 1, seconds=1.0, start_s=0.0),)
    trouble = Trouble(lifetime_s=math.inf)
    done = simulate(Job(20_000, shard_size=1, pools=one_worker, trouble=trouble, dispatch_s=0.0))
    assert done.ratio == pytest.approx(1, abs=0.03)


def test_the_docs_have_the_tables_that_the_script_prints():
    text = DOCS.read_text(encoding="utf-8")
    assert markdown(WIDTH_COLUMNS, [width_row(10_000, 100)]) in text
