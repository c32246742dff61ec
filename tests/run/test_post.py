"""Posts: what they count adds up, and their clocks measure work, not waiting."""

import time
from collections import Counter
from dataclasses import replace

import pytest

from mis_dataset.run.post import Post, PostState

WORKED = PostState("render", 10, 0, 4.0, 4, 0, 0, 0, 2, busy_s=3.0, elapsed_s=2.0, is_complete=False)


def test_what_is_counted_is_told():
    post = Post("teach", 1, 4)
    post.total = 9
    post.count(found=3)
    post.count(made=0.5)
    post.count(made=1.5, outcomes=Counter({("accepted", ""): 4, ("rejected", "blank"): 1}))
    post.count(outcomes=Counter({("failed", "timed_out"): 2, ("rejected", "refused"): 1}))
    state = post.state()
    assert (state.stage, state.total, state.found, state.made) == ("teach", 9, 3, 2.0)
    assert (state.accepted, state.rejected, state.failed) == (4, 2, 2)


def test_a_stage_that_never_worked_has_no_idle_time():
    post = Post("render", 2, 6)
    assert (post.state().elapsed_s, post.state().idle) == (0.0, 0.0)


def test_idle_is_the_share_of_time_without_work():
    assert WORKED.idle == pytest.approx(0.25)
    # Clocks are read one after the other: never below nothing.
    assert replace(WORKED, busy_s=4.001).idle == 0.0


def test_work_in_progress_counts_and_waiting_does_not():
    post = Post("render", 1, 4)
    with post.working():
        time.sleep(0.05)
        within = post.state()
    time.sleep(0.05)
    after = post.state()
    assert within.busy_s == pytest.approx(within.elapsed_s)
    assert within.busy_s >= 0.05
    assert after.elapsed_s - after.busy_s >= 0.05


def test_the_clock_stops_with_the_last_who_leaves():
    post = Post("screen", 2, 6)
    with post.working():
        pass
    assert not post.leave()
    assert not post.state().is_complete
    assert post.leave()
    end = post.state()
    assert end.is_complete
    time.sleep(0.01)
    assert post.state() == end
