"""Splitting once more, for larger quotas: what was chosen before stays, whatever came in since."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from samples import outlined
from test_split import CELL, LABEL, picture, row, twin_of

from mis_dataset.recipe import SplitSpec
from mis_dataset.records import Screened
from mis_dataset.seeds import stable_digest
from mis_dataset.split import Family, Split, split

TRAIN = ("train", "Identity Theft")


def chosen(result: Split) -> list[str]:
    return [row.id for row in result.rows]


def reasons(result: Split) -> dict[str, str]:
    return {item.id: item.outcome.reason for item in result.dropped}  # type: ignore[union-attr]  # nothing else is dropped


def test_new_rows_come_after_those_that_are_kept():
    # The second row was surplus; it is composed before the third, and published after it.
    train, surplus, hard = row("ab", subset="train"), row("cd", subset="train"), row("ef")
    rows = [train, surplus, hard]
    before = chosen(split(outlined(rows), {TRAIN: 1, CELL: 1}, SplitSpec()))
    assert before == [train.scenario.id, hard.scenario.id]
    assert chosen(split(outlined(rows), {TRAIN: 2, CELL: 1}, SplitSpec(), before)) == [*before, surplus.scenario.id]
    assert chosen(split(outlined(rows), {TRAIN: 2, CELL: 1}, SplitSpec())) != [*before, surplus.scenario.id]


def test_many_new_rows_do_not_take_a_pair_from_the_side_that_was_published():
    kept = row("ab")
    crowd = [row(f"ab{letter}", subset="train") for letter in "cdef"]
    before = chosen(split(outlined([kept]), {CELL: 1}, SplitSpec()))
    result = split(outlined([kept, *crowd]), {CELL: 1, TRAIN: 9}, SplitSpec(), before)
    assert chosen(result) == before
    assert set(reasons(result).values()) == {"crosses_split"}
    # Without a past, the larger side has it.
    assert len(split(outlined([kept, *crowd]), {CELL: 1, TRAIN: 9}, SplitSpec()).rows) == len(crowd)


def test_a_row_that_resembles_one_that_is_kept_goes_even_if_it_was_composed_earlier():
    phash, other = "0123456789abcdef", "0f" * 8
    early, kept = row("ab", phashes=[phash, other]), row("cd", phashes=[phash, "f0" * 8])
    result = split(outlined([early, kept]), {CELL: 2}, SplitSpec(), [kept.scenario.id])
    assert chosen(result) == [kept.scenario.id]
    assert reasons(result) == {early.scenario.id: "duplicate_image"}


def test_a_twin_that_was_left_out_before_does_not_come_back():
    harmful, benign = twin_of(row("ab"), "ac")
    result = split(outlined([harmful, benign]), {CELL: 1}, SplitSpec(), [harmful.scenario.id])
    assert chosen(result) == [harmful.scenario.id]
    assert result.rows[0].twin_id is None
    assert reasons(result) == {benign.scenario.id: "duplicate_image"}


@st.composite
def lots(draw: st.DrawFn) -> list[Screened]:
    """Rows of both sides that share objects, questions and pictures as often as not; some have twins."""
    rows: list[Screened] = []
    for number in range(draw(st.integers(2, 14))):
        objects = "".join(draw(st.permutations("abcdef"))[: draw(st.integers(2, 3))])
        harmful = row(
            objects, draw(st.sampled_from(["What now?", "How so?", ""])), draw(st.sampled_from(["hard", "train"]))
        )
        hashes = [stable_digest(draw(st.integers(0, 12)))[:16] if draw(st.booleans()) else None for _ in objects]
        pictures = tuple(picture(phash) if phash else own for phash, own in zip(hashes, harmful.pictures, strict=True))
        harmful = replace(harmful, pictures=pictures, label=LABEL)
        if draw(st.booleans()):
            harmful, benign = twin_of(harmful, objects[:-1] + "gh"[number % 2])
            rows += [harmful, benign]
        else:
            rows.append(harmful)
    return rows


@given(rows=lots(), cut=st.integers(0, 30), first=st.integers(0, 4), more=st.integers(0, 4))
def test_nothing_that_was_chosen_is_ever_lost_or_moved(rows: list[Screened], cut: int, first: int, more: int):
    # The version before saw only what had been composed by then.
    families = [at for at, one in enumerate(rows) if one.scenario.intent == "harmful"]
    seen = rows[: families[cut]] if cut < len(families) else rows
    spec = SplitSpec(max_same_question=3)
    before = split(outlined(seen), {CELL: first, TRAIN: first}, spec)
    after = split(outlined(rows), {CELL: first + more, TRAIN: first + more}, spec, chosen(before))
    assert list(after.rows[: len(before.rows)]) == list(before.rows)
    assert len(after.rows) + len(after.dropped) == len(rows)
    # What holds of every dataset holds of one that grew.
    assert all(got <= wanted for wanted, got in after.quotas.values())
    questions = Counter(one.question for one in after.rows if one.intent == "harmful")
    assert max(questions.values(), default=0) <= spec.max_same_question
    sides = {"train": set[bytes](), "test": set[bytes]()}
    for one in after.rows:
        family = Family(one, None)
        sides[family.side] |= family.pairs
    assert not sides["train"] & sides["test"]
