"""The embedded composer: scenarios from hand-written frames, each a family of sentences over lists of drawable things.

Two properties hold by construction. The n-th scenario of a (subset, sub-category) depends on the seed alone, so larger
quotas only add rows. And every pair of things belongs to one side, train or test, whatever the seed, so that no row of
one side shows a pair that a row of the other side shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import ClassVar

from mis_dataset.compose import Brief
from mis_dataset.compose._frames import Frame, Twin, fill, frames, image_order
from mis_dataset.lexicon import Thing, lexicon
from mis_dataset.records import ImageSpec, Intent, Origin, Scenario, side_of
from mis_dataset.resources import resource
from mis_dataset.seeds import stable_digest, stable_random
from mis_dataset.taxonomy import taxonomy

_DATA = Path(__file__).parent.parent / "data"
_NOUNS = ("image",) * 6 + ("picture", "picture", "photo")
_OPENERS = ("",) * 9 + ("Hi! ", "Quick question: ", "Please help me with this: ")

Pair = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class GrammarComposer:
    """Composes from the frames in ``data/frames`` and the things in ``data/objects``."""

    version: ClassVar[int] = 1
    sources: ClassVar[tuple[Path, ...]] = (
        _DATA / "frames",
        _DATA / "objects",
        resource("dataset_card", "taxonomy.toml"),
    )

    def compose(self, brief: Brief) -> Iterator[tuple[Scenario, ...]]:
        """Yield families, one of each cell in turn; a cell whose combinations are used up yields no more."""
        cells = {cell: _families(*cell, brief) for cell in brief.wanted}
        for rank in range(max(brief.wanted.values(), default=0)):
            for cell, wanted in brief.wanted.items():
                if rank < wanted and (family := next(cells[cell], None)):
                    yield family


def _families(subset: str, sub_category: str, brief: Brief) -> Iterator[tuple[Scenario, ...]]:
    """The endless-looking stream of one cell: its frames take turns, each through its combinations in random order."""
    chosen = [frame for frame in frames() if (frame.subset, frame.sub_category) == (subset, sub_category)]
    stable_random(brief.seed, subset, sub_category).shuffle(chosen)
    streams = [_from_frame(frame, brief) for frame in chosen]
    for turn in itertools.zip_longest(*streams):
        yield from (family for family in turn if family)


def _from_frame(frame: Frame, brief: Brief) -> Iterator[tuple[Scenario, ...]]:
    indices = list(range(frame.size))
    stable_random(brief.seed, frame.name).shuffle(indices)
    taken: set[tuple[str, ...]] = set()
    for index in indices:
        keys = frame.combination(index)
        if _is_usable(keys, side_of(frame.subset)):
            yield _family(frame, keys, stable_random(brief.seed, frame.name, index), brief.twins, taken)


def _family(
    frame: Frame, keys: tuple[str, ...], rng: Random, twins: float, taken: set[tuple[str, ...]]
) -> tuple[Scenario, ...]:
    """A harmful scenario and its twin; ``taken`` holds the questions and things of the frame's twins so far."""
    question, noun, opener = rng.choice(frame.questions), rng.choice(_NOUNS), rng.choice(_OPENERS)
    rationale, reply = rng.choice(frame.rationale), f"{rng.choice(frame.refusal)} {rng.choice(frame.help)}"
    order = image_order(question)

    def scenario(keys: tuple[str, ...], intent: Intent, rationale: str, reply: str, family: str = "") -> Scenario:
        things = tuple(lexicon()[key] for key in keys)
        words = _open(opener, fill(question, things, order, noun))
        images = tuple(_spec(things[slot]) for slot in order)
        name = _scenario_id(frame.sub_category, intent, words, images)
        return Scenario(
            id=name,
            family=family or name,
            twin_id=None,
            category=taxonomy().sub_categories[frame.sub_category].category,
            sub_category=frame.sub_category,
            subset=frame.subset,
            intent=intent,
            relation=frame.relation,
            question=words,
            images=images,
            rationale=fill(rationale, things, order, noun),
            reply=fill(reply, things, order, noun),
            origin=Origin(f"grammar:{frame.name}"),
        )

    harmful = scenario(keys, "harmful", rationale, reply)
    swapped = _swap(frame, question, keys, rng, taken) if rng.random() < twins else None
    if swapped is None:
        return (harmful,)
    twin, twin_keys = swapped
    benign = scenario(twin_keys, "benign", rng.choice(twin.rationale), rng.choice(twin.answer), harmful.id)
    return _linked(harmful, benign)


def _linked(harmful: Scenario, benign: Scenario) -> tuple[Scenario, Scenario]:
    return replace(harmful, twin_id=benign.id), replace(benign, twin_id=harmful.id)


def _swap(
    frame: Frame, question: str, keys: tuple[str, ...], rng: Random, taken: set[tuple[str, ...]]
) -> tuple[Twin, tuple[str, ...]] | None:
    """A twin and the things it shows; None if each would cross from train to test or is another family's already."""
    choices = [(twin, key) for twin in frame.twins for key in twin.objects]
    rng.shuffle(choices)
    for twin, key in choices:
        swapped = (*keys[: twin.slot], key, *keys[twin.slot + 1 :])
        if (question, *swapped) not in taken and _is_usable(swapped, side_of(frame.subset)):
            taken.add((question, *swapped))
            return twin, swapped
    return None


def _is_usable(keys: Sequence[str], side: str) -> bool:
    return len(set(keys)) == len(keys) and all(
        _pair_sides()[frozenset(pair)] == side for pair in itertools.combinations(keys, 2)
    )


@cache
def _pair_sides() -> dict[Pair, str]:
    """Every pair of things that a frame can show, with the side to which it belongs.

    A pair that only one side can show belongs there; the others are dealt out by a hash of their names.
    """
    reach: dict[Pair, set[str]] = {}
    for frame in frames():
        wide = [set(slot) for slot in frame.slots]
        for twin in frame.twins:
            wide[twin.slot] |= set(twin.objects)
        for one, other in itertools.combinations(wide, 2):
            for pair in itertools.product(one, other):
                reach.setdefault(frozenset(pair), set()).add(side_of(frame.subset))
    return {pair: _side(pair, sides) for pair, sides in reach.items()}


def _side(pair: Pair, sides: set[str]) -> str:
    if len(sides) == 1:
        return next(iter(sides))
    return "train" if int(stable_digest(*sorted(pair))[0], 16) < 8 else "test"


def _spec(thing: Thing) -> ImageSpec:
    return ImageSpec(object=thing.name, prompt=thing.prompt, harmful=thing.harmful)


def _open(opener: str, question: str) -> str:
    """Put an opener before a question; after a colon the question goes on in lower case."""
    if opener.endswith(": ") and not question.startswith(("I ", "I'")):
        question = question[0].lower() + question[1:]
    return opener + question


def _scenario_id(sub_category: str, intent: str, question: str, images: Sequence[ImageSpec]) -> str:
    return "mis-" + stable_digest(sub_category, intent, question, *(image.object for image in images))[:16]
