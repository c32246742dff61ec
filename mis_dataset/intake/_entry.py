"""A row that others made, as far as its format tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mis_dataset.intake._files import Found
from mis_dataset.records import Intent, Subset

_MARK = "<image>"
_LEADING = re.compile(rf"(?:\s*{_MARK})+\s*")
_TRAILING = re.compile(rf"\s*(?:{_MARK}\s*)+$")
_HALF = re.compile(r"[\ud800-\udfff]")
_NO_LABEL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
"""Ends of lines, and what YAML cannot hold: a category stands in the card, and on a line of its plot."""


@dataclass(frozen=True)
class Entry:
    """One row of somebody else's dataset; what its format does not tell is empty."""

    where: str
    """How a message names it: ``mis_hard.json, entry 7``."""
    file: str
    """The name of the file in which it stands."""
    row: str
    """Its id there; its position, from 1, or its key if it has none."""
    subset: Subset
    intent: Intent
    question: str
    images: tuple[Found, ...]
    """In the question's order."""
    response: str = ""
    category: str = ""
    sub_category: str = ""

    def misspellings(self) -> Iterator[str]:
        """What is wrong with its characters, all of which JSON can hold; for each, what to do about it."""
        texts = (self.file, self.row, self.question, self.response, self.category, self.sub_category)
        if any(map(_HALF.search, (*texts, *(image.name for image in self.images)))):
            yield "has half a character (a lone surrogate such as \\ud83d); write the whole one"
        for key, label in (("category", self.category), ("sub_category", self.sub_category)):
            if found := _NO_LABEL.search(label):
                yield f"its {key} has the control character {found[0]!a}; write it without, on one line"


def without_marks(text: str, images: int) -> str:
    """A question without the marks that say where its images go.

    Args:
        text: with one mark per image at its beginning or its end, or with none.
        images: how many images there are.

    Raises:
        ValueError: the marks do not fit the images, or stand inside the text.
    """
    marks = text.count(_MARK)
    if marks not in (0, images):
        raise ValueError(f"has {marks} marks {_MARK} and {images} images; write one mark per image, or none")
    question = _LEADING.sub("", text, count=1) if _LEADING.match(text) else text
    question = _TRAILING.sub("", question)
    if _MARK in question:
        raise ValueError(f"has marks {_MARK} inside its text; move them to its beginning")
    return question
