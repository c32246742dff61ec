"""Variety: no pair of objects again and again, no two questions that ask nearly the same. The first to come stays."""

from __future__ import annotations

import itertools
import re
from collections import Counter

from mis_dataset.compose._steps import bare
from mis_dataset.records import ORDINALS, Rejected, Scenario

# Words that every question has.
_COMMON = {*ORDINALS, "a", "an", "the", "in", "of", "to", "and", "is", "image", "picture", "photo"}

Pair = frozenset[str]


class Variety:
    """What was composed so far; says of each further scenario whether it adds anything.

    Args:
        max_pair_repeats: how many families may show the same unordered pair of objects.
        similar_from: the least share of words (Jaccard, of the sets of words) from which two questions count as equal.
    """

    def __init__(self, max_pair_repeats: int, similar_from: float) -> None:
        self._max_pair_repeats = max_pair_repeats
        self._similar_from = similar_from
        self._questions: list[tuple[frozenset[str], str]] = []
        self._pairs: Counter[Pair] = Counter()

    def admit(self, harmful: Scenario) -> Rejected | None:
        """Take a harmful scenario in, or say why not."""
        words = _words(harmful.question)
        if known := next((known for other, known in self._questions if self._similar(words, other)), None):
            return Rejected("similar_question", f"asks nearly the same as {known}")
        if rejected := self._admit_pairs(_pairs(harmful)):
            return rejected
        self._questions.append((words, harmful.id))
        return None

    def admit_twin(self, benign: Scenario, harmful: Scenario) -> Rejected | None:
        """Take the twin of an admitted scenario in, or say why not."""
        return self._admit_pairs(_pairs(benign) - _pairs(harmful))

    def _admit_pairs(self, pairs: set[Pair]) -> Rejected | None:
        if full := next(
            (pair for pair in sorted(pairs, key=sorted) if self._pairs[pair] >= self._max_pair_repeats), None
        ):
            shown = " and ".join(sorted(full))
            return Rejected("repeated_pair", f"{self._max_pair_repeats} families show {shown} already")
        self._pairs.update(pairs)
        return None

    def _similar(self, one: frozenset[str], other: frozenset[str]) -> bool:
        shared, together = len(one & other), len(one | other)
        return shared >= self._similar_from * together


def _words(question: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w']+", question.casefold())) - _COMMON


def _pairs(scenario: Scenario) -> set[Pair]:
    return {frozenset(map(bare, pair)) for pair in itertools.combinations((i.object for i in scenario.images), 2)}
