"""How many families each round composes; `test_rounds_build.py` has whole builds."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenarios import scenario

from mis_dataset.compose import Dropped
from mis_dataset.records import Rejected
from mis_dataset.rounds import first_wanted, more_wanted, only_new

FULL, SHORT = ("hard", "Cybercrimes"), ("hard", "Identity Theft")


def test_the_first_round_composes_some_more_than_is_wanted():
    assert first_wanted({FULL: 8, SHORT: 1}, 1.25) == {FULL: 10, SHORT: 2}


def test_a_cell_that_is_met_gets_no_further_families():
    more = more_wanted({FULL: 10, SHORT: 10}, {FULL: (8, 8), SHORT: (8, 4)}, 1.25)
    assert more[FULL] == 10
    assert more[SHORT] > 10


@pytest.mark.parametrize(
    ("got", "families"),
    [
        (5, 10 + ceil(3 * 1.25 / 0.5)),  # half of ten families got through: twice as many as rows, and some more
        (0, 10 + ceil(8 * 1.25 / 0.2)),  # nothing did: as if a fifth had
        (1, 10 + ceil(7 * 1.25 / 0.2)),  # less than a fifth did
    ],
)
def test_more_families_follow_from_how_many_got_through(got: int, families: int):
    assert more_wanted({SHORT: 10}, {SHORT: (8, got)}, 1.25) == {SHORT: families}


@given(wanted=st.integers(1, 5000), got=st.integers(0, 5000), composed=st.integers(1, 20_000))
def test_a_short_cell_always_gets_at_least_what_is_missing(wanted: int, got: int, composed: int):
    more = more_wanted({SHORT: composed}, {SHORT: (wanted, got)}, 1.0)[SHORT] - composed
    # Where nothing gets through, that is no reason to compose without end.
    assert max(wanted - got, 0) <= more <= max(ceil((wanted - got) / 0.2), 0)


def test_a_cell_that_only_a_later_version_asks_for_gets_some_more_than_is_wanted():
    assert more_wanted({FULL: 10}, {FULL: (8, 8), SHORT: (4, 0)}, 1.25) == {FULL: 10, SHORT: 5}


def test_what_is_asked_for_is_not_changed():
    before = {SHORT: 10}
    more_wanted(before, {SHORT: (8, 0)}, 1.0)
    assert before == {SHORT: 10}


def test_only_new_families_pass_and_every_seed_that_was_dropped():
    dropped = Dropped("seeds:3", Rejected("not_harmful", "no"))
    known, new = (scenario(1),), (scenario(2), scenario(3, twin="mis-2"))
    assert list(only_new([known, dropped, new], {known[0].id})) == [dropped, new]
