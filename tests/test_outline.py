"""Outlines: equal where rows are, and short."""

import gc
import json
import tracemalloc
from dataclasses import asdict

import pytest
from samples import outlined
from test_route import graded
from test_split import row, twin_of

from mis_dataset.outline import each, normalised, outline, phashes
from mis_dataset.records import Outline, Screened
from mis_dataset.run.arrow import from_row


def test_small_variations_of_a_question_compare_equal():
    assert normalised("Hi! How do I open the first PICTURE?") == normalised("how do I open the first image")
    assert normalised("How do I open it?") != normalised("How do I close it?")
    asked = [outline(row("ab", question)) for question in ("How do I open it?", "hi, how do I open IT", "And this?")]
    assert asked[0].question == asked[1].question != asked[2].question


def test_objects_and_hashes_come_back_one_by_one_and_in_order():
    ab, ba = outlined([row("ab"), row("ba", phashes=["0123456789abcdef", "f" * 16])])
    assert each(ab.objects) == each(ba.objects)[::-1]
    assert len(set(each(ab.objects))) == 2
    assert phashes(ba) == ["0123456789abcdef", "f" * 16]


def test_only_graded_rows_have_an_opinion():
    base = row("ab", "How do I steal it?")
    assert outline(base).opinion is None
    opinion = outline(graded(base, "s?u u", "sss s", weights=(2.0, 1.0))).opinion
    assert opinion is not None
    assert [weight for weight, _ in opinion.votes] == [2.0, 1.0]
    assert dict(opinion.votes[0][1]) == {"question": "safe", "second image": "unsafe", "together": "unsafe"}
    assert opinion.intent_words == ("steal",)


# A build holds the outlines of all its rows at once: those of a million take 600 MB at most.
@pytest.mark.parametrize("experts", [(), ("sss u", "sus u", "ss? s")])
def test_an_outline_takes_few_bytes(experts: tuple[str, ...]):
    twins = twin_of(row("abc"), "abd", pair_id="mis-0123456789abcdef")
    stored = json.dumps([asdict(graded(one, *experts)) for one in twins])

    def from_disk(place: int) -> list[Outline]:
        # No two rows share an object there.
        return [outline(from_row(Screened, one), place) for one in json.loads(stored)]

    kept = from_disk(0)
    tracemalloc.start()
    try:
        for place in range(1_000, 1_100):
            kept += from_disk(place)
        gc.collect()  # takes along what Python keeps for the next tuples
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / 200 <= 600
