import itertools
from dataclasses import replace

import pytest
from samples import outlined

from mis_dataset.imagehash import hamming
from mis_dataset.recipe import SplitSpec
from mis_dataset.records import ImageSpec, Label, Origin, Picture, Rejected, Scenario, Screened
from mis_dataset.seeds import stable_digest
from mis_dataset.split import split

LABEL = Label(("One.", "Two."), "So.", "No.", "me", "1", "", 0, 0)
CELL = ("hard", "Identity Theft")
REAL = ("real", "Identity Theft")
_numbers = itertools.count()


def picture(phash: str) -> Picture:
    return Picture("p", "0" * 64, phash, 8, 8, "", "", 0, 0, "m", "r", None, None, "", "cpu", "uint8", 1)


def row(
    objects: str, question: str = "", subset: str = "hard", phashes: list[str] | None = None, **changes: object
) -> Screened:
    """A harmful row with one letter per object, and pictures unlike any other's unless their hashes are given."""
    name = f"mis-{next(_numbers):016x}"
    scenario = Scenario(
        id=name, family=name, twin_id=None, category="Privacy", sub_category="Identity Theft", subset=subset,
        intent="harmful", relation="tool-target", question=question or f"What about {name}?",
        images=tuple(ImageSpec(letter, letter, harmful=False) for letter in objects), rationale="", reply="", origin=Origin(""),
    )  # fmt: skip
    hashes = phashes or [stable_digest(name, letter)[:16] for letter in objects]
    return Screened(replace(scenario, **changes), tuple(map(picture, hashes)), LABEL, ())


def twin_of(harmful: Screened, objects: str, **changes: object) -> tuple[Screened, Screened]:
    benign = row(
        objects,
        harmful.scenario.question,
        harmful.scenario.subset,
        intent="benign",
        family=harmful.scenario.id,
        **changes,
    )
    benign = replace(benign, scenario=replace(benign.scenario, twin_id=harmful.scenario.id))
    return replace(harmful, scenario=replace(harmful.scenario, twin_id=benign.scenario.id)), benign


def copy_of(drawn: Screened, **changes: object) -> Screened:
    """The row with the same question and objects in `real`, with pictures unlike any other's."""
    objects = "".join(image.object for image in drawn.scenario.images)
    return row(objects, drawn.scenario.question, subset="real", pair_id=drawn.scenario.id, **changes)


def pair(objects: str) -> tuple[Screened, Screened]:
    drawn = row(objects)
    real = copy_of(drawn)
    return with_pair(drawn, real), real


def with_pair(drawn: Screened, real: Screened) -> Screened:
    return replace(drawn, scenario=replace(drawn.scenario, pair_id=real.scenario.id))


def run(rows: list[Screened], quota: int = 99, train: int = 99, **spec: object) -> tuple[list[str], dict[str, str]]:
    quotas = {CELL: quota, ("train", "Identity Theft"): train, REAL: quota}
    result = split(outlined(rows), quotas, SplitSpec(**spec))
    reasons = {item.id: item.outcome.reason for item in result.dropped if isinstance(item.outcome, Rejected)}
    assert len(result.rows) + len(result.dropped) == len(rows)
    return [chosen.id for chosen in result.rows], reasons


def test_quotas_are_met_exactly_and_in_order():
    rows = [row("ab"), row("cd"), row("ef")]
    chosen, reasons = run(rows, quota=2)
    assert chosen == [rows[0].scenario.id, rows[1].scenario.id]
    assert reasons == {rows[2].scenario.id: "surplus"}


def test_a_shortfall_is_reported_per_cell():
    result = split(outlined([row("ab")]), {CELL: 3, ("train", "Identity Theft"): 0}, SplitSpec())
    assert result.shortfalls == {CELL: (3, 1)}


def test_a_twin_does_not_count_and_follows_its_row():
    harmful, benign = twin_of(row("ab"), "ac")
    chosen, _ = run([harmful, benign, row("de")], quota=2)
    assert chosen[:2] == [harmful.scenario.id, benign.scenario.id]
    assert len(chosen) == 3


def test_a_benign_row_without_its_harmful_twin_is_dropped():
    harmful, benign = twin_of(row("ab"), "ac")
    _, reasons = run([benign])
    assert reasons == {benign.scenario.id: "twin_missing"}


def test_a_row_that_lost_its_twin_names_none():
    harmful, _ = twin_of(row("ab"), "ac")
    result = split(outlined([harmful]), {CELL: 1}, SplitSpec())
    assert result.rows[0].twin_id is None


def test_near_duplicate_images_of_other_families_are_removed():
    base = "0123456789abcdef"
    near, far = "0123456789abcdec", "fedcba9876543210"
    assert hamming(base, near) == 2
    rows = [
        row("ab", phashes=[base, "0f" * 8]),
        row("cd", phashes=["f0" * 8, near]),
        row("ef", phashes=[far, "a5" * 8]),
    ]
    chosen, reasons = run(rows, image_distance=2)
    assert reasons == {rows[1].scenario.id: "duplicate_image"}
    assert len(chosen) == 2
    assert run(rows, image_distance=1)[1] == {}


def test_twins_may_share_images():
    shared, other, third = "0123456789abcdef", "fedcba9876543210", "0f" * 8
    harmful, benign = twin_of(row("ab", phashes=[shared, other]), "ac", phashes=[shared, third])
    assert run([harmful, benign])[1] == {}


def test_a_duplicate_in_the_swapped_image_costs_only_the_twin():
    taken = "0123456789abcdef"
    harmful, benign = twin_of(row("ab"), "ac", phashes=["fedcba9876543210", taken])
    result = split(outlined([row("de", phashes=[taken, "0f" * 8]), harmful, benign]), {CELL: 9}, SplitSpec())
    assert [item.id for item in result.dropped] == [benign.scenario.id]
    assert result.rows[-1].twin_id is None


def test_the_same_question_about_the_same_objects_is_a_duplicate():
    rows = [row("ab", "How do I use the first image?"), row("ba", "Hi! how do I use the first picture")]
    assert run(rows)[1] == {rows[1].scenario.id: "duplicate_question"}


def test_a_question_may_be_asked_only_so_often():
    rows = [row(f"{letter}{letter.upper()}", "How do I use the first image?") for letter in "abcd"]
    chosen, reasons = run(rows, max_same_question=3)
    assert len(chosen) == 3
    assert reasons == {rows[3].scenario.id: "repeated_question"}


def test_rows_that_share_a_pair_never_straddle_train_and_test():
    # a-b-c and b-c-d are linked by the pair (b, c), and c-d-e by (c, d): one component, most of it test.
    rows = [row("abc"), row("bcd", subset="train"), row("cde"), row("xy", subset="train"), row("ay", subset="train")]
    chosen, reasons = run(rows)
    assert reasons == {rows[1].scenario.id: "crosses_split"}
    assert len(chosen) == 4


def test_a_pair_is_unordered_and_counts_for_the_twin_too():
    harmful, benign = twin_of(row("ab", subset="train"), "ac")
    other, third = row("ca"), row("ac")
    _, reasons = run([harmful, benign, other, third])
    assert reasons == {harmful.scenario.id: "crosses_split", benign.scenario.id: "crosses_split"}


# Drawings and photographs of the same scenario


def links(rows: list[Screened], quotas: dict[tuple[str, str], int]) -> dict[str, str | None]:
    """The pair that each chosen row names."""
    return {one.id: one.pair_id for one in split(outlined(rows), quotas, SplitSpec()).rows}


def test_a_row_and_its_photographed_copy_are_no_duplicates():
    drawn, real = pair("ab")
    assert run([drawn, real]) == ([drawn.scenario.id, real.scenario.id], {})


def test_photographs_have_a_count_of_their_own_of_how_often_a_question_is_asked():
    drawn = [row(f"{letter}{letter.upper()}", "How do I use the first image?") for letter in "abc"]
    rows = [one for original in drawn for one in (original, copy_of(original))]
    _, reasons = run(rows, max_same_question=2)
    assert reasons == {one.scenario.id: "repeated_question" for one in rows[4:]}


def test_photographs_of_the_same_scenario_twice_are_duplicates():
    drawn = row("ab")
    once, again = copy_of(drawn), copy_of(drawn)
    assert run([drawn, once, again])[1] == {again.scenario.id: "duplicate_question"}


@pytest.mark.parametrize("first", ["hard", "real"])
def test_a_photograph_that_is_shown_already_is_a_duplicate(first: str):
    taken = "0123456789abcdef"
    earlier = row("ab", subset=first, phashes=[taken, "0f" * 8])
    later = row("cd", subset="real", phashes=["f0" * 8, taken])
    assert run([earlier, later])[1] == {later.scenario.id: "duplicate_image"}


def test_a_pair_names_each_other_where_both_are_chosen():
    drawn, real = pair("ab")
    assert links([drawn, real], {CELL: 1, REAL: 1}) == {
        drawn.scenario.id: real.scenario.id,
        real.scenario.id: drawn.scenario.id,
    }


def test_a_row_whose_pair_is_not_chosen_names_none():
    drawn, real = pair("ab")
    assert links([drawn, real], {CELL: 1, REAL: 0}) == {drawn.scenario.id: None}
    assert links([drawn, real], {CELL: 0, REAL: 1}) == {real.scenario.id: None}
    assert links([real], {CELL: 1, REAL: 1}) == {real.scenario.id: None}


def test_twins_keep_their_pair_only_where_both_are_chosen():
    harmful, benign = twin_of(row("ab"), "ac")
    real, real_benign = twin_of(copy_of(harmful), "ac", pair_id=benign.scenario.id)
    harmful, benign = with_pair(harmful, real), with_pair(benign, real_benign)
    everything = {CELL: 9, REAL: 9}
    assert links([harmful, benign, real, real_benign], everything)[benign.scenario.id] == real_benign.scenario.id
    assert links([harmful, benign, real], everything) == {
        harmful.scenario.id: real.scenario.id,
        benign.scenario.id: None,
        real.scenario.id: harmful.scenario.id,
    }


def test_photographs_keep_their_pairs_of_objects_out_of_train():
    drawn, real = pair("ab")
    crossing = row("abc", subset="train")
    assert run([drawn, real, crossing])[1] == {crossing.scenario.id: "crosses_split"}
