from itertools import repeat

from benchmarks.miniature.data import Rows, things
from benchmarks.miniature.lessons import Course
from benchmarks.miniature.pictures import Album
from benchmarks.miniature.variants import REFUSAL, VARIANTS, Example, general_examples

GENERAL: Example = {"images": [], "messages": []}


def taught(world: Rows, key: str) -> list[Example]:
    """What a variant teaches, but for the general examples."""
    return [one for one in VARIANTS[key].examples(world.in_kind, repeat(GENERAL), 0.25) if one is not GENERAL]


def answer(example: Example) -> str:
    return example["messages"][-1]["content"][0]["text"]


def test_mis_is_taught_as_it_is(world: Rows):
    assert [answer(one) for one in taught(world, "a")] == [row.response for row in world.in_kind]


def test_bare_refusals_come_without_twins(world: Rows):
    assert {answer(one) for one in taught(world, "b")} == {REFUSAL}
    assert len(taught(world, "b")) == sum(row.intent == "harmful" for row in world.in_kind)


def test_without_twins_only_the_harmful_rows_are_left(world: Rows):
    assert [answer(one) for one in taught(world, "c")] == [
        row.response for row in world.in_kind if row.intent == "harmful"
    ]


def test_text_only_shows_no_image(world: Rows):
    for example in taught(world, "d"):
        assert example["images"] == []
        assert [part["type"] for part in example["messages"][0]["content"]] == ["text"]


def test_refusals_with_twins_still_help_the_twins(world: Rows):
    assert [answer(one) for one in taught(world, "e")] == [
        REFUSAL if row.intent == "harmful" else row.response for row in world.in_kind
    ]


def test_general_rows_have_their_share_wherever_images_are_shown(world: Rows):
    for variant in VARIANTS.values():
        examples = variant.examples(world.in_kind, repeat(GENERAL), 0.25)
        share = 0.25 if variant.images else 0
        assert abs(examples.count(GENERAL) - share * len(examples)) < 1


def test_general_examples_name_what_they_show(world: Rows):
    names = things(world.learned)[:4]
    course = Course(names, world.learned, frozenset())
    example = next(general_examples(course, Album.of(names, 2), 0))

    assert answer(example).startswith("The first image shows ")
    assert len(example["images"]) == 2
