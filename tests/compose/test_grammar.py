"""The promises of the embedded composer, checked on everything that it can say."""

import itertools
import re
from collections import Counter

import pytest

from mis_dataset import policy
from mis_dataset.compose import Brief
from mis_dataset.compose._frames import frames
from mis_dataset.compose.grammar import GrammarComposer
from mis_dataset.records import ORDINALS, Scenario, side_of
from mis_dataset.taxonomy import taxonomy

CELLS = [(subset, name) for subset in ("train", "easy", "hard") for name in taxonomy().sub_categories]


def families(
    each: int, seed: int = 1, twins: float = 1.0, cells: list[tuple[str, str]] = CELLS
) -> list[tuple[Scenario, ...]]:
    return list(GrammarComposer().compose(Brief(seed, dict.fromkeys(cells, each), twins)))


@pytest.fixture(scope="module")
def many() -> list[tuple[Scenario, ...]]:
    return families(40)


@pytest.fixture(scope="module")
def rows(many: list[tuple[Scenario, ...]]) -> list[Scenario]:
    return [row for family in many for row in family]


def test_every_cell_gets_what_it_asks_for(many: list[tuple[Scenario, ...]]):
    assert Counter((family[0].subset, family[0].sub_category) for family in many) == dict.fromkeys(CELLS, 40)


def test_more_than_twenty_thousand_scenarios_are_in_reach():
    assert sum(frame.size for frame in frames()) > 20_000
    # Not only on paper: composed for real, over three cells, no two are alike.
    some = families(500, cells=[("hard", "Property Crimes"), ("easy", "Cybercrimes"), ("train", "Privacy")][:2])
    assert len({family[0].id for family in some}) == len(some) > 800


def test_all_categories_relations_and_image_counts_appear(rows: list[Scenario]):
    assert {row.category for row in rows} == set(taxonomy().categories)
    assert len({row.relation for row in rows}) >= 8
    assert {len(row.images) for row in rows} == {2, 3, 4}


def test_half_of_the_harmful_rows_have_a_twin_in_every_subset(many: list[tuple[Scenario, ...]]):
    for subset in ("train", "easy", "hard"):
        members = [family for family in many if family[0].subset == subset]
        assert sum(len(family) == 2 for family in members) >= len(members) / 2, subset


def test_a_twin_asks_the_same_and_differs_in_one_image(many: list[tuple[Scenario, ...]]):
    for harmful, benign in (family for family in many if len(family) == 2):
        assert (harmful.intent, benign.intent) == ("harmful", "benign")
        assert harmful.question == benign.question
        assert (harmful.twin_id, benign.twin_id) == (benign.id, harmful.id)
        assert sum(one != other for one, other in zip(harmful.images, benign.images, strict=True)) == 1
        assert not any(image.harmful for image in benign.images) or harmful.subset == "train"


def test_hard_images_are_innocent_and_easy_ones_hold_one_that_is_not(rows: list[Scenario]):
    for row in rows:
        if row.intent == "harmful" and row.subset in ("easy", "hard"):
            assert sum(image.harmful for image in row.images) == (row.subset == "easy"), row.id


def test_questions_name_the_images_in_order(rows: list[Scenario]):
    for row in rows:
        places = [row.question.lower().find(f"the {place} ") for place in ORDINALS[: len(row.images)]]
        assert -1 not in places, row.question
        assert places == sorted(places), row.question


def test_questions_are_short_and_never_name_an_object(rows: list[Scenario]):
    for row in rows:
        assert len(row.question.split()) <= 45, row.question
        for image in row.images:
            assert not re.search(rf"\b{re.escape(image.object)}\b", row.question, re.IGNORECASE), row.question


def test_test_questions_never_state_the_harm(rows: list[Scenario]):
    for row in rows:
        if row.subset != "train":
            assert policy.intent_words(row.question) == [], row.question


def test_no_text_breaks_the_policy():
    for frame in frames():
        texts = [*frame.questions, *frame.rationale, *frame.refusal, *frame.help]
        texts += [text for twin in frame.twins for text in (*twin.rationale, *twin.answer)]
        for text in texts:
            assert policy.operational_detail(text) is None, f"{frame.name}: {text}"
        if frame.sub_category == "Erotic Visual Content":
            assert not policy.unsafe_for_minors(texts), frame.name


def test_no_pair_of_objects_is_shared_by_train_and_test_whatever_the_seed(rows: list[Scenario]):
    seen: dict[frozenset[str], set[str]] = {}
    for row in [*rows, *(row for family in families(20, seed=2) for row in family)]:
        for pair in itertools.combinations([image.object for image in row.images], 2):
            seen.setdefault(frozenset(pair), set()).add(side_of(row.subset))
    assert [pair for pair, sides in seen.items() if len(sides) > 1] == []


def test_the_same_seed_gives_the_same_and_another_seed_gives_another():
    assert families(3) == families(3)
    assert families(3, seed=2) != families(3)


def test_larger_quotas_only_add(many: list[tuple[Scenario, ...]]):
    assert set(families(5)) <= set(many)


def test_no_two_scenarios_are_alike(rows: list[Scenario]):
    assert len({row.id for row in rows}) == len(rows)


def test_the_share_of_twins_can_be_turned_down():
    assert all(len(family) == 1 for family in families(3, twins=0.0))
    some = families(20, twins=0.5)
    assert 0.2 < sum(len(family) == 2 for family in some) / len(some) < 0.6


def test_an_exhausted_cell_ends_and_the_others_go_on():
    cell = min(
        {(f.subset, f.sub_category) for f in frames()},
        key=lambda c: sum(f.size for f in frames() if (f.subset, f.sub_category) == c),
    )
    brief = Brief(1, {cell: 10**6, CELLS[0]: 5} if cell != CELLS[0] else {cell: 10**6}, 0.0)
    found = Counter((family[0].subset, family[0].sub_category) for family in GrammarComposer().compose(brief))
    assert 0 < found[cell] <= sum(f.size for f in frames() if (f.subset, f.sub_category) == cell)
