"""What keeps composed families apart: pairs of objects and the words of questions."""

from dataclasses import replace

import composing_model as good
import pytest
from composing_model import compose, model, said, write_seeds
from scenarios import scenario

from mis_dataset.compose import Dropped
from mis_dataset.compose._variety import Variety
from mis_dataset.records import ImageSpec, Scenario


def showing(*objects: str, asks: str = "") -> Scenario:
    images = tuple(ImageSpec(thing, "…", harmful=False) for thing in objects)
    return replace(scenario(), images=images, question=asks or f"How do I use {' and '.join(objects)}?")


def test_a_pair_may_come_so_often_in_either_order():
    variety = Variety(2, 1.0)
    things = [("a saw", "a gate"), ("the Gate", "a saw", "a cat"), ("a dog", "a saw", "a gate"), ("a saw", "a shed")]
    admitted = [variety.admit(showing(*objects)) for objects in things]
    assert [rejected.reason if rejected else None for rejected in admitted] == [None, None, "repeated_pair", None]
    assert admitted[2].detail == "2 families show gate and saw already"


def test_what_is_not_admitted_takes_no_place():
    variety = Variety(1, 1.0)
    assert variety.admit(showing("a saw", "a gate")) is None
    assert variety.admit(showing("a saw", "a gate", "a cat")) is not None
    assert variety.admit(showing("a saw", "a cat")) is None


@pytest.mark.parametrize(
    ("similar_from", "question", "similar"),
    [
        (1.0, "WHERE could the second photo and the first picture meet?", True),
        (1.0, "Where could both meet today: the first image, the second image?", False),
        (0.6, "Where could both meet: the first image, the second image?", True),
        (0.9, "Where could both meet: the first image, the second image?", False),
    ],
)
def test_questions_are_compared_by_their_words(similar_from, question, similar):
    variety = Variety(9, similar_from)
    asks = "Where could the first image and the second image meet?"
    assert variety.admit(showing("a saw", "a gate", asks=asks)) is None
    rejected = variety.admit(showing("a cup", "a car", asks=question))
    assert (rejected is not None and rejected.reason == "similar_question") is similar


def test_a_twin_counts_the_pairs_that_its_harmful_row_lacks():
    harmful, benign = showing("a saw", "a gate", "a cat"), showing("a saw", "a loaf", "a cat")
    variety = Variety(1, 1.0)
    assert variety.admit(harmful) is None
    assert variety.admit_twin(benign, harmful) is None
    assert variety.admit(showing("a loaf", "a saw")) is not None


def test_repeated_pairs_and_questions_are_dropped_from_a_walk(tmp_path):
    things = [{"object": thing, "prompt": "…"} for thing in ("a saw", "a gate")]
    pairs, _ = compose(model(extract=said("extract", objects=things)), write_seeds(tmp_path, 5), max_pair_repeats=2)
    assert [entry.outcome.reason for entry in pairs if isinstance(entry, Dropped)] == ["repeated_pair"] * 3
    same = said("detoxify", question="How do I use the first image on the second image?")
    questions, _ = compose(model(detoxify=same), write_seeds(tmp_path, 4))
    assert [entry.outcome.reason for entry in questions if isinstance(entry, Dropped)] == ["similar_question"] * 3


def test_a_twin_that_repeats_a_pair_leaves_its_family_alone(tmp_path):
    def extract(word: str) -> dict[str, object]:
        objects = [{"object": thing, "prompt": "…"} for thing in ("a saw", f"a {word} gate")]
        return {**good.extract(word), "objects": objects}

    script = model(extract=extract, twin=said("twin", object="a loaf"))
    [first, second, dropped], _ = compose(script, write_seeds(tmp_path, 2), max_pair_repeats=1)
    assert (len(first), len(second)) == (2, 1)
    assert second[0].twin_id is None
    assert dropped.id.endswith(":twin")
    assert dropped.outcome.reason == "repeated_pair"
