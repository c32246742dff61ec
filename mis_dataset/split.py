"""Split: drop duplicates, keep train and test apart, and meet the quotas.

Three steps, each over whole families (a harmful row and its benign twin), in the order in which they were composed:

1. `_without_duplicates`: no two families show near-equal images or ask the same thing of the same objects; what is
   asked of drawings may be asked of photographs once more.
2. `_kept_apart`: families linked by a shared pair of objects stay on one side, train or test.
3. `_within_quotas`: the first families of each (subset, sub-category) that its quota has room for.

Where a smaller version of the dataset was chosen before, its families come first and stay as they are, and the others
have to get along with them: what was published does not change, and what is new comes after it.

What a chosen row says of its twin and its pair is true of the chosen rows: it names none that was lost on the way.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from mis_dataset.imagehash import NearIndex
from mis_dataset.outline import each, phashes
from mis_dataset.recipe import Cell, SplitSpec
from mis_dataset.records import Outline, Rejected, side_of
from mis_dataset.run.shards import Item


@dataclass(frozen=True, slots=True)
class Family:
    """A harmful row and, if it got that far, its benign twin."""

    harmful: Outline
    benign: Outline | None

    @property
    def rows(self) -> tuple[Outline, ...]:
        """The harmful row first."""
        return (self.harmful, self.benign) if self.benign else (self.harmful,)

    @property
    def cell(self) -> Cell:
        """Where the family counts."""
        return self.harmful.subset, self.harmful.sub_category

    @property
    def side(self) -> str:
        """Train or test."""
        return side_of(self.harmful.subset)

    @property
    def is_real(self) -> bool:
        """Whether it shows photographs, maybe of what a drawn family shows."""
        return self.harmful.subset == "real"

    @property
    def pairs(self) -> set[bytes]:
        """Every unordered pair of objects that one of its rows shows, as a digest."""
        objects = (sorted(each(row.objects)) for row in self.rows)
        return {one + other for found in objects for one, other in itertools.combinations(found, 2)}


@dataclass(frozen=True)
class Split:
    """The chosen rows in their final order, and why the others were not chosen."""

    rows: tuple[Outline, ...]
    dropped: tuple[Item[Outline], ...]
    quotas: Mapping[Cell, tuple[int, int]]
    """Per cell: harmful rows wanted and got."""

    @property
    def shortfalls(self) -> dict[Cell, tuple[int, int]]:
        """The cells that got less than they should."""
        return {cell: (wanted, got) for cell, (wanted, got) in self.quotas.items() if got < wanted}


def split(rows: Sequence[Outline], quotas: Mapping[Cell, int], spec: SplitSpec, kept: Sequence[str] = ()) -> Split:
    """Choose rows; see the module's docstring for how.

    Args:
        rows: in the order in which they were composed.
        quotas: harmful rows wanted per cell; none less than of the version before.
        spec: the recipe's settings.
        kept: the ids of the rows of the version before, in their order.
    """
    dropped: list[Item[Outline]] = []
    families, names = _families(rows, dropped), set(kept)
    families = [*_kept(families, kept, dropped), *(one for one in families if one.harmful.id not in names)]
    # None of those that are kept is lost from here on: they were chosen by the same rules before.
    families = list(_without_duplicates(families, spec, dropped))
    families = list(_kept_apart(families, names, dropped))
    chosen = list(_within_quotas(families, quotas, dropped))
    got = Counter(family.cell for family in chosen)
    final = [row for family in chosen for row in family.rows]
    names = {row.id for row in final}
    return Split(
        rows=tuple(_linked(row, names) for row in final),
        dropped=tuple(dropped),
        quotas={cell: (wanted, got[cell]) for cell, wanted in quotas.items()},
    )


def _families(rows: Sequence[Outline], dropped: list[Item[Outline]]) -> list[Family]:
    harmful = {row.id: row for row in rows if row.intent == "harmful"}
    benign: dict[str, Outline] = {}
    for row in rows:
        if row.intent == "benign":
            if row.family in harmful:
                benign[row.family] = row
            else:
                dropped.append(_drop(row, "twin_missing", f"its harmful twin {row.twin_id} was not accepted"))
    return [Family(row, benign.get(name)) for name, row in harmful.items()]


def _kept(families: Sequence[Family], kept: Sequence[str], dropped: list[Item[Outline]]) -> Iterator[Family]:
    """The families of the version before, as they were: a twin that was left out then does not come back."""
    by_name = {family.harmful.id: family for family in families}
    names = set(kept)
    for family in (by_name[name] for name in kept if name in by_name):
        if family.benign and family.benign.id not in names:
            dropped.append(_drop(family.benign, "duplicate_image", "an earlier version was published without it"))
            yield replace(family, benign=None)
        else:
            yield family


def _without_duplicates(families: Sequence[Family], spec: SplitSpec, dropped: list[Item[Outline]]) -> Iterator[Family]:
    # What the rows of one family share makes none of them a duplicate.
    shown = ({phash for row in family.rows for phash in phashes(row)} for family in families)
    pictures = NearIndex(spec.image_distance, among=itertools.chain.from_iterable(shown))
    exact: dict[tuple[object, ...], str] = {}
    asked: Counter[tuple[bool, bytes]] = Counter()
    for family in families:
        question = family.is_real, family.harmful.question
        content = (question, *sorted(each(family.harmful.objects)))
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
            exact[content] = family.harmful.id
            asked[question] += 1
            for row in family.rows:
                for phash in phashes(row):
                    pictures.add(phash, family.harmful.id)
            yield family


def _near(row: Outline, pictures: NearIndex) -> str | None:
    return next((found for phash in phashes(row) if (found := pictures.find(phash))), None)


def _kept_apart(families: Sequence[Family], kept: Set[str], dropped: list[Item[Outline]]) -> Iterator[Family]:
    """Families that share a pair of objects form one component; the side with more of them keeps it, test if equal.

    A pair that families of ``kept`` show stays on their side, however many new ones there are on the other.
    """
    settled = [family for family in families if family.harmful.id in kept]
    yield from settled
    taken = {pair: family.side for family in settled for pair in family.pairs}
    fresh: list[Family] = []
    for family in (one for one in families if one.harmful.id not in kept):
        if all(taken.get(pair, family.side) == family.side for pair in family.pairs):
            fresh.append(family)
        else:
            why = "shares a pair of objects with rows of the other side that were published before"
            _drop_family(family, "crosses_split", why, dropped)
    yield from _larger_sides(fresh, dropped)


def _larger_sides(families: Sequence[Family], dropped: list[Item[Outline]]) -> Iterator[Family]:
    groups = _Groups(len(families))
    first: dict[bytes, int] = {}
    for number, family in enumerate(families):
        for pair in family.pairs:
            groups.join(first.setdefault(pair, number), number)
    lead: Counter[int] = Counter()  # by how many families train is larger than test, per component
    for number, family in enumerate(families):
        lead[groups.root(number)] += 1 if family.side == "train" else -1
    for number, family in enumerate(families):
        side = "train" if lead[groups.root(number)] > 0 else "test"
        if family.side == side:
            yield family
        else:
            _drop_family(family, "crosses_split", f"shares a pair of objects with rows of {side}", dropped)


def _within_quotas(
    families: Sequence[Family], quotas: Mapping[Cell, int], dropped: list[Item[Outline]]
) -> Iterator[Family]:
    taken: Counter[Cell] = Counter()
    for family in families:
        if taken[family.cell] < quotas.get(family.cell, 0):
            taken[family.cell] += 1
            yield family
        else:
            _drop_family(family, "surplus", f"the quota of {' / '.join(family.cell)} is met", dropped)


def _linked(row: Outline, chosen: Set[str]) -> Outline:
    """The row, naming its twin and its pair only if they were chosen as well."""
    twin_id, pair_id = (other if other in chosen else None for other in (row.twin_id, row.pair_id))
    is_so = (twin_id, pair_id) == (row.twin_id, row.pair_id)
    return row if is_so else replace(row, twin_id=twin_id, pair_id=pair_id)


def _drop(row: Outline, reason: str, detail: str) -> Item[Outline]:
    return Item(row.id, Rejected(reason, detail))


def _drop_family(family: Family, reason: str, detail: str, dropped: list[Item[Outline]]) -> None:
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
