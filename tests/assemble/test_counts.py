"""The numbers of the card where rows say little of what they are about, as imported ones may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from samples import sample_rows

from mis_dataset.assemble.counts import Counts, count
from mis_dataset.records import Screened


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Screened]:
    return sample_rows(tmp_path_factory.mktemp("images"), 6)


def counted(rows: Sequence[Screened], *kinds: tuple[str, str]) -> Counts:
    """The counts of the first rows, one of each kind: a category and a sub-category."""
    return count(
        replace(row, scenario=replace(row.scenario, category=category, sub_category=name))
        for row, (category, name) in zip(rows, kinds, strict=False)
    )


def test_categories_are_kept_apart_where_no_sub_category_is_given(rows: list[Screened]):
    counts = counted(rows, ("Violent", ""), ("Erotic", ""), ("Violent", ""))
    assert {kind: counts.kind(kind) for kind in counts.kinds} == {("Erotic", ""): 1, ("Violent", ""): 2}
    assert list(counts.labels.values()) == ["Erotic: not given", "Violent: not given"]


def test_categories_may_share_a_sub_categorys_name(rows: list[Screened]):
    counts = counted(rows, ("Violent", "Other"), ("Erotic", "Other"), ("", "Other"))
    assert sum(map(counts.kind, counts.kinds)) == len(counts.kinds) == 3
    assert list(counts.labels.values()) == ["Erotic: Other", "Violent: Other", "not given: Other"]


def test_the_taxonomys_come_first_by_their_own_names_and_what_says_nothing_last(rows: list[Screened]):
    own = [(row.scenario.category, row.scenario.sub_category) for row in (rows[-1], rows[0])]
    counts = counted(rows, ("", ""), ("Odd", "A thing"), *own)
    assert list(counts.labels.values()) == [*(name for _, name in own[::-1]), "A thing", "not given"]
