from pathlib import Path

import pytest

from mis_dataset.compose._frames import fill, frames, image_order, load_frames
from mis_dataset.errors import GrammarError
from mis_dataset.lexicon import Thing, lexicon

THINGS = {
    key: Thing(key, name, ("cup",), None, "plain", "", harmful)
    for key, name, harmful in [
        ("cup", "a cup", False),
        ("axe", "an axe", False),
        ("bomb", "a bomb", True),
        ("bun", "a bun", False),
    ]
}
GOOD = """
sub_category = "Property Crimes"
[[frame]]
name = "f"
subset = "hard"
relation = "tool-target"
questions = ["What does <1> do to <2>?"]
slots = [["cup"], ["axe"]]
rationale = "{1} meets {the 2}."
refusal = "No."
help = "Yes."
[[frame.twins]]
slot = 2
objects = ["bun"]
rationale = "Fine."
answer = "Eat {the 2}."
"""


def loaded(folder: Path, text: str) -> str:
    (folder / "f.toml").write_text(text)
    with pytest.raises(GrammarError) as caught:
        load_frames([folder / "f.toml"], THINGS)
    return str(caught.value)


def test_a_good_frame_loads(tmp_path: Path):
    (tmp_path / "f.toml").write_text(GOOD)
    (frame,) = load_frames([tmp_path / "f.toml"], THINGS)
    assert frame.size == 1
    assert frame.twins[0].slot == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('subset = "hard"', 'subset = "hardest"', "not train, easy or hard"),
        ('"tool-target"', '"tool-tool"', "relation 'tool-tool' is not in the taxonomy"),
        ('["axe"]', '["axe", "pie"]', "the lexicon lacks: pie"),
        ('["axe"]', '["axe", "axe"]', "lists a thing twice"),
        ('["axe"]', '["bomb"]', "must not hold things that are harmful in themselves: bomb"),
        ("do to <2>", "do", "must mention every slot"),
        ("do to <2>", "do to {2}", "must mention every slot"),
        ("{the 2}", "{the 3}", "names slot 3, which does not exist"),
        ("{the 2}", "{them 2}", "stray placeholder"),
        ("slot = 2", "slot = 3", "twin slot 3 does not exist"),
        ('objects = ["bun"]', 'objects = ["bomb"]', "harmful in itself: bomb"),
        ('objects = ["bun"]', 'objects = ["axe"]', "already holds: axe"),
        ('refusal = "No."\n', "", "lacks refusal"),
        ('help = "Yes."', 'help = "Yes."\nhelpful = 1', "unknown fields helpful"),
        ('answer = "Eat {the 2}."', "", "needs exactly the fields"),
        ('subset = "hard"', 'subset = "easy"', "needs one slot whose things are all harmful"),
        ("Property Crimes", "Property Crime", "is not in the taxonomy"),
        ("[[frame]]", "[[frame", "not valid TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, message: str):
    assert message in loaded(tmp_path, GOOD.replace(old, new, 1))


def test_a_hard_frame_needs_a_twin(tmp_path: Path):
    assert "needs a benign twin" in loaded(tmp_path, GOOD.partition("[[frame.twins]]")[0])


def test_images_come_in_the_order_of_mention():
    assert image_order("Put <2> on <1>, then <2> again") == [1, 0]


def test_filling_puts_ordinals_names_and_capitals():
    things = (THINGS["cup"], THINGS["axe"])
    assert fill("is <2> in <1>?", things, [1, 0]) == "Is the first image in the second image?"
    assert fill("{1} holds. {the 2} cuts.", things, [0, 1]) == "A cup holds. The axe cuts."


def test_every_combination_is_reached_once():
    frame = max(frames(), key=lambda frame: len(frame.slots))
    combinations = {frame.combination(index) for index in range(frame.size)}
    assert len(combinations) == frame.size


def test_every_thing_is_used():
    # What no frame shows is dead weight that nobody checks.
    used = {key for frame in frames() for slot in frame.slots for key in slot}
    used |= {key for frame in frames() for twin in frame.twins for key in twin.objects}
    assert set(lexicon()) - used == set()
