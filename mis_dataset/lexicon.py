"""The lexicon: every concrete thing that the embedded composer can name and the embedded renderer can draw.

The data lies in ``data/objects/*.toml``, one table per thing:

    [bolt_cutter]
    name = "a bolt cutter"       # with its article, as a viewer of the image would name it
    icons = ["bolt_cutter"]      # Material Design Icons: the main one first, then up to two companions
    colour = "red"               # optional, one of COLOURS
    scene = "table"              # optional, one of SCENES
    prompt = "…"                 # optional, for text-to-image models; made from the name if missing
    harmful = true               # optional: harmful in itself
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mis_dataset.errors import GrammarError

SCENES = ("table", "room", "street", "nature", "night", "plain")
COLOURS = ("red", "orange", "amber", "green", "teal", "blue", "indigo", "purple", "pink", "brown", "grey", "black")
_FIELDS = {"name", "icons", "colour", "scene", "prompt", "harmful"}
_ARTICLES = ("a ", "an ", "some ", "the ")


@dataclass(frozen=True)
class Thing:
    """A concrete, drawable thing."""

    key: str
    name: str
    icons: tuple[str, ...]
    colour: str | None
    scene: str
    prompt: str
    harmful: bool

    @property
    def definite(self) -> str:
        """The name with the definite article: ``the bolt cutter``."""
        return definite(self.name)


def definite(name: str) -> str:
    """``a bolt cutter`` becomes ``the bolt cutter``; ``people at a bus stop``, ``the people at a bus stop``."""
    for article in _ARTICLES:
        if name.startswith(article):
            return "the " + name.removeprefix(article)
    return "the " + name


@cache
def lexicon() -> dict[str, Thing]:
    """All things by key.

    Raises:
        GrammarError: the data files contradict themselves; every mistake is listed.
    """
    return load_lexicon(sorted((Path(__file__).parent / "data" / "objects").glob("*.toml")))


@cache
def things_by_name() -> dict[str, Thing]:
    """All things by name, article included."""
    return {thing.name: thing for thing in lexicon().values()}


def load_lexicon(files: list[Path]) -> dict[str, Thing]:
    """Read things from ``files``; see the module's docstring for their format."""
    things: dict[str, Thing] = {}
    names: dict[str, str] = {}
    problems: list[str] = []
    for file in files:
        try:
            tables = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            problems.append(f"{file.name}: not valid TOML: {error}")
            continue
        for key, table in tables.items():
            where = f"{file.name} [{key}]"
            if key in things:
                problems.append(f"{where}: this key is defined twice")
            if unknown := table.keys() - _FIELDS:
                problems.append(
                    f"{where}: unknown field {', '.join(sorted(unknown))}; known are {', '.join(sorted(_FIELDS))}"
                )
            if not table.get("name") or not table.get("icons"):
                problems.append(f"{where}: needs a name and icons")
                continue
            thing = Thing(
                key=key,
                name=table["name"],
                icons=tuple(table["icons"]),
                colour=table.get("colour"),
                scene=table.get("scene", "plain"),
                prompt=table.get("prompt")
                or f"a clear, well-lit photograph of {table['name']}, centred, natural background",
                harmful=table.get("harmful", False),
            )
            if thing.name in names:
                problems.append(f"{where}: has the same name as [{names[thing.name]}]: {thing.name}")
            if len(thing.icons) > 3:
                problems.append(f"{where}: has {len(thing.icons)} icons; 3 is the most that stays legible")
            if thing.colour not in (None, *COLOURS):
                problems.append(f"{where}: colour {thing.colour!r} is not one of {', '.join(COLOURS)}")
            if thing.scene not in SCENES:
                problems.append(f"{where}: scene {thing.scene!r} is not one of {', '.join(SCENES)}")
            things[key] = thing
            names[thing.name] = key
    if problems:
        raise GrammarError("The lexicon has mistakes:", problems)
    return things
