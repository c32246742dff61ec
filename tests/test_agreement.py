"""Measures of agreement, against examples worked by others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_dataset.agreement import Agreement, fleiss_kappa, krippendorff_alpha, measure_agreement, raw_agreement

# 14 raters put 10 items into 5 categories; kappa is 0.210 (https://en.wikipedia.org/wiki/Fleiss%27_kappa).
WIKIPEDIA = [
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
]
# Four observers, twelve units, some unseen; nominal alpha is 0.743 (Krippendorff 2011, section C).
KRIPPENDORFF = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]

ratings = st.lists(st.lists(st.sampled_from(["safe", "unsafe"]), max_size=5), max_size=12)


def test_kappa_is_that_of_the_worked_example():
    items = [[str(place) for place, count in enumerate(counts) for _ in range(count)] for counts in WIKIPEDIA]
    assert fleiss_kappa(items) == pytest.approx(0.210, abs=0.0005)
    assert raw_agreement(items) == pytest.approx(0.378, abs=0.0005)


def test_alpha_is_that_of_the_worked_example():
    items = [
        [value for value in unit if value != "."] for unit in zip(*(row.split() for row in KRIPPENDORFF), strict=True)
    ]
    assert krippendorff_alpha(items) == pytest.approx(0.743, abs=0.0005)


def test_raw_agreement_is_the_share_of_agreeing_pairs():
    # Of three pairs one agrees; of one pair, one; a single rating makes no pair.
    assert raw_agreement([["safe", "safe", "unsafe"], ["unsafe", "unsafe"], ["safe"]]) == pytest.approx((1 / 3 + 1) / 2)


@given(st.integers(2, 5), st.lists(st.sampled_from(["safe", "unsafe"]), min_size=1))
def test_full_agreement_is_one_or_undefined(raters: int, verdicts: list[str]):
    items = [[verdict] * raters for verdict in verdicts]
    # With a single category there is nothing that chance could have got wrong.
    expected = 1.0 if len(set(verdicts)) == 2 else None
    assert raw_agreement(items) == 1.0
    assert fleiss_kappa(items) == (expected and pytest.approx(expected))
    assert krippendorff_alpha(items) == (expected and pytest.approx(expected))


@given(ratings)
def test_a_lone_rating_says_nothing_of_agreement(items: list[list[str]]):
    lone = [["safe"], ["unsafe"], []]
    assert krippendorff_alpha(items + lone) == krippendorff_alpha(items)
    assert raw_agreement(items + lone) == raw_agreement(items)


@given(ratings)
def test_the_order_of_items_and_raters_does_not_matter(items: list[list[str]]):
    turned = [item[::-1] for item in items[::-1]]
    for measure in (raw_agreement, krippendorff_alpha):
        value = measure(items)
        assert measure(turned) == (None if value is None else pytest.approx(value))


def test_kappa_wants_equal_numbers_of_ratings():
    with pytest.raises(ValueError, match="same number"):
        fleiss_kappa([["safe", "safe"], ["safe"]])


def test_kappa_is_measured_over_what_all_could_judge():
    whole = [["safe", "safe", "safe"], ["unsafe", "unsafe", "unsafe"]]
    found = measure_agreement("image", [*whole, ["safe", "unsafe"], ["safe"], []], 3)
    assert found == Agreement(
        "image", 3, 3, 2, pytest.approx(2 / 3), 1.0, pytest.approx(krippendorff_alpha([*whole, ["safe", "unsafe"]]))
    )


@pytest.mark.parametrize("items", [[], [[]], [["safe"], ["unsafe"]]])
def test_without_a_second_rater_nothing_is_measured(items: list[list[str]]):
    found = measure_agreement("question", items, 2)
    assert (found.items, found.complete, found.raw, found.kappa, found.alpha) == (0, 0, None, None, None)
