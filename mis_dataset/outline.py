"""Outlines of rows: a few hundred bytes for what decides where a row is published, in place of thousands for the row.

Texts of which it matters only whether two are equal are digests; what many rows share is one object.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

from mis_dataset import policy
from mis_dataset.records import Near, Opinion, Outline, Screened

Shared = TypeVar("Shared")

DIGEST_BYTES = 8
"""Two of a million texts have the same digest in one of 37 million builds."""

# Words whose presence does not make a question another question.
_FILLER = set(
    re.findall(
        r"\w+", "a an the this that is are in of to hi hello please quick question help me with image picture photo"
    )
)


class Source(Protocol):
    """Screened rows by their places, such as a list of them."""

    def __getitem__(self, place: int, /) -> Screened:
        """The row at a place, as it was screened."""
        ...


def outline(row: Screened, place: int = 0, near: Near | None = None) -> Outline:
    """A row's outline.

    Args:
        row: whose label and provenance are left out.
        place: which row it is.
        near: to which benchmark it comes near.
    """
    scenario = row.scenario
    return Outline(
        place=place,
        id=_shared(scenario.id),
        family=_shared(scenario.family),
        twin_id=_shared(scenario.twin_id),
        pair_id=_shared(scenario.pair_id),
        category=_shared(scenario.category),
        sub_category=_shared(scenario.sub_category),
        subset=scenario.subset,
        intent=scenario.intent,
        question=_digest(normalised(scenario.question)),
        objects=b"".join(_digest(image.object) for image in scenario.images),
        phashes=bytes.fromhex("".join(picture.phash for picture in row.pictures)),
        opinion=_opinion(row),
        near=near,
    )


def each(digests: bytes) -> list[bytes]:
    """The digests of an outline one by one."""
    return [digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES)]


def phashes(row: Outline) -> list[str]:
    """The perceptual hash of each image, as `Picture.phash` has it."""
    return [phash.hex() for phash in each(row.phashes)]


def normalised(question: str) -> str:
    """A question without case, punctuation and filler, so that small variations compare equal."""
    return " ".join(word for word in re.findall(r"[a-z0-9']+", question.lower()) if word not in _FILLER)


def _opinion(row: Screened) -> Opinion | None:
    experts = [verdict for verdict in row.verdicts if verdict.grades]
    if not experts:
        return None
    votes = (
        (expert.weight, tuple((one.target, one.verdict) for one in expert.grades if one.verdict != "cannot_judge"))
        for expert in experts
    )
    question = row.scenario.question
    return Opinion(
        votes=_shared(tuple(map(_shared, votes))),
        question=_digest(question),
        pictures=b"".join(_digest(picture.sha256) for picture in row.pictures),
        intent_words=tuple(policy.intent_words(question)),
    )


def _shared(value: Shared) -> Shared:
    """The object that has stood for this value of late: twins come together, and most votes are like others."""
    known: Shared = _known(value)
    return known


@lru_cache(maxsize=4_096)
def _known(value: Any) -> Any:
    return value


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()
