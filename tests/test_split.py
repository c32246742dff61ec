import itertools
from dataclasses import replace

from mis_dataset.imagehash import hamming
from mis_dataset.recipe import SplitSpec
from mis_dataset.records import ImageSpec, Label, Origin, Picture, Rejected, Scenario, Screened
from mis_dataset.seeds import stable_digest
from mis_dataset.split import normalised, split

LABEL = Label(("One.", "Two."), "So.", "No.", "me", "1", "", 0, 0)
CELL = ("hard", "Identity Theft")
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


def run(rows: list[Screened], quota: int = 99, train: int = 99, **spec: object) -> tuple[list[str], dict[str, str]]:
    quotas = {CELL: quota, ("train", "Identity Theft"): train}
    result = split(rows, quotas, SplitSpec(**spec))
    reasons = {item.id: item.outcome.reason for item in result.dropped if isinstance(item.outcome, Rejected)}
    assert len(result.rows) + len(result.dropped) == len(rows)
    return [chosen.scenario.id for chosen in result.rows], reasons


def test_quotas_are_met_exactly_and_in_order():
    rows = [row("ab"), row("cd"), row("ef")]
    chosen, reasons = run(rows, quota=2)
    assert chosen == [rows[0].scenario.id, rows[1].scenario.id]
    assert reasons == {rows[2].scenario.id: "surplus"}


def test_a_shortfall_is_reported_per_cell():
    result = split([row("ab")], {CELL: 3, ("train", "Identity Theft"): 0}, SplitSpec())
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
    result = split([harmful], {CELL: 1}, SplitSpec())
    assert result.rows[0].scenario.twin_id is None


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
    result = split([row("de", phashes=[taken, "0f" * 8]), harmful, benign], {CELL: 9}, SplitSpec())
    assert [item.id for item in result.dropped] == [benign.scenario.id]
    assert result.rows[-1].scenario.twin_id is None


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


def test_small_variations_of_a_question_compare_equal():
    assert normalised("Hi! How do I open the first PICTURE?") == normalised("how do I open the first image")
    assert normalised("How do I open it?") != normalised("How do I close it?")
