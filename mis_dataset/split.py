"""Split: drop duplicates, keep train and test apart, and meet the quotas.

Three steps, each over whole families (a harmful row and its benign twin), in the order in which they were composed:

1. `_without_duplicates`: no two families show near-equal images or ask the same thing of the same objects; what is
   asked of drawings may be asked of photographs once more.
2. `_kept_apart`: families linked by a shared pair of objects stay on one side, train or test.
3. `_within_quotas`: the first families of each (subset, sub-category) that its quota has room for.

What a chosen row says of its twin and its pair is true of the chosen rows: it names none that was lost on the way.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from mis_dataset.imagehash import NearIndex
from mis_dataset.recipe import Cell, SplitSpec
from mis_dataset.records import Rejected, Screened, side_of
from mis_dataset.run.shards import Item

# Words whose presence does not make a question another question.
_FILLER = set(
    re.findall(
        r"\w+", "a an the this that is are in of to hi hello please quick question help me with image picture photo"
    )
)


@dataclass(frozen=True)
class Family:
    """A harmful row and, if it got that far, its benign twin."""

    harmful: Screened
    benign: Screened | None

    @property
    def rows(self) -> tuple[Screened, ...]:
        """The harmful row first."""
        return (self.harmful, self.benign) if self.benign else (self.harmful,)

    @property
    def cell(self) -> Cell:
        """Where the family counts."""
        return self.harmful.scenario.subset, self.harmful.scenario.sub_category

    @property
    def side(self) -> str:
        """Train or test."""
        return side_of(self.harmful.scenario.subset)

    @property
    def is_real(self) -> bool:
        """Whether it shows photographs, maybe of what a drawn family shows."""
        return self.harmful.scenario.subset == "real"

    @property
    def pairs(self) -> set[frozenset[str]]:
        """Every unordered pair of objects that one of its rows shows."""
        return {
            frozenset(pair)
            for row in self.rows
            for pair in itertools.combinations([image.object for image in row.scenario.images], 2)
        }


@dataclass(frozen=True)
class Split:
    """The chosen rows in their final order, and why the others were not chosen."""

    rows: tuple[Screened, ...]
    dropped: tuple[Item[Screened], ...]
    quotas: Mapping[Cell, tuple[int, int]]
    """Per cell: harmful rows wanted and got."""

    @property
    def shortfalls(self) -> dict[Cell, tuple[int, int]]:
        """The cells that got less than they should."""
        return {cell: (wanted, got) for cell, (wanted, got) in self.quotas.items() if got < wanted}


def split(rows: Sequence[Screened], quotas: Mapping[Cell, int], spec: SplitSpec) -> Split:
    """Choose rows; see the module's docstring for how."""
    dropped: list[Item[Screened]] = []
    families = _families(rows, dropped)
    families = list(_without_duplicates(families, spec, dropped))
    families = list(_kept_apart(families, dropped))
    chosen = list(_within_quotas(families, quotas, dropped))
    got = Counter(family.cell for family in chosen)
    final = [row for family in chosen for row in family.rows]
    names = {row.scenario.id for row in final}
    return Split(
        rows=tuple(_linked(row, names) for row in final),
        dropped=tuple(dropped),
        quotas={cell: (wanted, got[cell]) for cell, wanted in quotas.items()},
    )


def _families(rows: Sequence[Screened], dropped: list[Item[Screened]]) -> list[Family]:
    harmful = {row.scenario.id: row for row in rows if row.scenario.intent == "harmful"}
    benign: dict[str, Screened] = {}
    for row in rows:
        if row.scenario.intent == "benign":
            if row.scenario.family in harmful:
                benign[row.scenario.family] = row
            else:
                dropped.append(_drop(row, "twin_missing", f"its harmful twin {row.scenario.twin_id} was not accepted"))
    return [Family(row, benign.get(name)) for name, row in harmful.items()]


def _without_duplicates(families: Sequence[Family], spec: SplitSpec, dropped: list[Item[Screened]]) -> Iterator[Family]:
    # What the rows of one family share makes none of them a duplicate.
    shown = ({picture.phash for row in family.rows for picture in row.pictures} for family in families)
    pictures = NearIndex(spec.image_distance, among=itertools.chain.from_iterable(shown))
    exact: dict[tuple[object, ...], str] = {}
    asked: Counter[tuple[bool, str]] = Counter()
    for family in families:
        question = family.is_real, normalised(family.harmful.scenario.question)
        content = (question, *sorted(image.object for image in family.harmful.scenario.images))
        if known := exact.get(content):
            _drop_family(family, "duplicate_question", f"asks the same of the same objects as {known}", dropped)
        elif asked[question] >= spec.max_same_question:
            _drop_family(family, "repeated_question", f"{asked[question]} families ask this already", dropped)
        elif known := _near(family.harmful, pictures):
            _drop_family(family, "duplicate_image", f"an image nearly equals one of {known}", dropped)
        else:
            if family.benign and (known := _near(family.benign, pictures)):
                dropped.append(_drop(family.benign, "duplicate_image", f"an image nearly equals one of {known}"))
                family = replace(family, benign=None)  # noqa: PLW2901
            exact[content] = family.harmful.scenario.id
            asked[question] += 1
            for row in family.rows:
                for picture in row.pictures:
                    pictures.add(picture.phash, family.harmful.scenario.id)
            yield family


def _near(row: Screened, pictures: NearIndex) -> str | None:
    return next((found for picture in row.pictures if (found := pictures.find(picture.phash))), None)


def _kept_apart(families: Sequence[Family], dropped: list[Item[Screened]]) -> Iterator[Family]:
    """Families that share a pair of objects form one component; the side with more of them keeps it, test if equal."""
    groups = _Groups(len(families))
    first: dict[frozenset[str], int] = {}
    for number, family in enumerate(families):
        for pair in family.pairs:
            groups.join(first.setdefault(pair, number), number)
    sides: dict[int, Counter[str]] = defaultdict(Counter)
    for number, family in enumerate(families):
        sides[groups.root(number)][family.side] += 1
    for number, family in enumerate(families):
        count = sides[groups.root(number)]
        side = "train" if count["train"] > count["test"] else "test"
        if family.side == side:
            yield family
        else:
            _drop_family(family, "crosses_split", f"shares a pair of objects with rows of {side}", dropped)


def _within_quotas(
    families: Sequence[Family], quotas: Mapping[Cell, int], dropped: list[Item[Screened]]
) -> Iterator[Family]:
    taken: Counter[Cell] = Counter()
    for family in families:
        if taken[family.cell] < quotas.get(family.cell, 0):
            taken[family.cell] += 1
            yield family
        else:
            _drop_family(family, "surplus", f"the quota of {' / '.join(family.cell)} is met", dropped)


def _linked(row: Screened, chosen: Set[str]) -> Screened:
    """The row, naming its twin and its pair only if they were chosen as well."""
    twin_id, pair_id = (other if other in chosen else None for other in (row.scenario.twin_id, row.scenario.pair_id))
    return replace(row, scenario=replace(row.scenario, twin_id=twin_id, pair_id=pair_id))


def normalised(question: str) -> str:
    """A question without case, punctuation and filler, so that small variations compare equal."""
    return " ".join(word for word in re.findall(r"[a-z0-9']+", question.lower()) if word not in _FILLER)


def _drop(row: Screened, reason: str, detail: str) -> Item[Screened]:
    return Item(row.scenario.id, Rejected(reason, detail))


def _drop_family(family: Family, reason: str, detail: str, dropped: list[Item[Screened]]) -> None:
    dropped.extend(_drop(row, reason, detail) for row in family.rows)


class _Groups:
    """Disjoint sets of numbers (union-find with path halving)."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def join(self, one: int, other: int) -> None:
        self._parent[self.root(one)] = self.root(other)
