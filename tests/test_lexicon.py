from pathlib import Path

import pytest

from mis_dataset.errors import GrammarError
from mis_dataset.lexicon import definite, lexicon, load_lexicon
from mis_dataset.render.pictogram import glyph


def test_every_thing_has_icons_in_the_font():
    missing = []
    for thing in lexicon().values():
        for icon in thing.icons:
            try:
                glyph(icon)
            except AttributeError:
                missing.append(f"{thing.key}: {icon}")
    assert missing == []


def test_no_two_things_look_the_same_under_different_names():
    looks: dict[tuple[object, ...], list[str]] = {}
    for thing in lexicon().values():
        looks.setdefault((thing.icons, thing.colour, thing.scene), []).append(thing.name)
    assert {look: names for look, names in looks.items() if len(names) > 1} == {}


@pytest.mark.parametrize(
    ("name", "with_the"),
    [
        ("a bolt cutter", "the bolt cutter"),
        ("an axe", "the axe"),
        ("some cash", "the cash"),
        ("two mugs", "the two mugs"),
        ("people at a bus stop", "the people at a bus stop"),
    ],
)
def test_the_definite_form(name: str, with_the: str):
    assert definite(name) == with_the


def test_all_mistakes_of_a_file_are_listed(tmp_path: Path):
    file = tmp_path / "things.toml"
    file.write_text(
        '[a]\nname = "a cup"\nicons = ["cup"]\ncolor = "red"\n'
        '[b]\nname = "a cup"\nicons = ["cup", "cup", "cup", "cup"]\nscene = "moon"\ncolour = "mauve"\n'
        '[c]\nname = "a key"\n'
    )
    with pytest.raises(GrammarError) as caught:
        load_lexicon([file])
    text = str(caught.value)
    for part in (
        "unknown field color",
        "same name as [a]",
        "4 icons",
        "scene 'moon'",
        "colour 'mauve'",
        "[c]: needs a name and icons",
    ):
        assert part in text


def test_broken_toml_is_named(tmp_path: Path):
    (tmp_path / "things.toml").write_text("[a")
    with pytest.raises(GrammarError, match=r"things\.toml: not valid TOML"):
        load_lexicon([tmp_path / "things.toml"])
