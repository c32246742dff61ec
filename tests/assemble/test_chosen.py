"""The rows to publish, as they were screened and with what was decided since."""

from dataclasses import replace
from pathlib import Path

import pytest
from recipes import contents
from samples import outlined, sample_facts, sample_rows

from mis_dataset.assemble import assemble
from mis_dataset.assemble.chosen import Chosen
from mis_dataset.records import SUBSETS, Screened


@pytest.fixture
def rows(tmp_path: Path) -> list[Screened]:
    return sample_rows(tmp_path / "images", 12)


def test_rows_that_nothing_changed_are_as_they_were(rows: list[Screened]):
    assert list(Chosen.all_of(rows)) == rows


def test_what_was_decided_is_in_the_row(rows: list[Screened]):
    decided = replace(outlined(rows)[0], subset="easy", twin_id=None, pair_id="mis-1", harmful=(True, False))
    (row,) = Chosen([decided], rows)
    flags = [image.harmful for image in row.scenario.images]
    assert (row.scenario.subset, row.scenario.twin_id, row.scenario.pair_id, flags) == (
        "easy",
        None,
        "mis-1",
        [True, False],
    )
    assert (row.pictures, row.label, row.verdicts) == (rows[0].pictures, rows[0].label, rows[0].verdicts)
    assert [image.object for image in row.scenario.images] == [image.object for image in rows[0].scenario.images]


def test_the_order_is_that_of_the_outlines(rows: list[Screened]):
    turned = Chosen(outlined(rows)[::-1], rows)
    assert list(turned) == rows[::-1]
    assert list(turned.of("easy", "train")) == [
        row for subset in ("easy", "train") for row in rows[::-1] if row.scenario.subset == subset
    ]
    assert list(turned.by_subset()) == list(turned.of(*SUBSETS))


def test_the_bytes_are_those_of_rows_in_memory(tmp_path: Path, rows: list[Screened]):
    chosen = Chosen(outlined(rows)[2:], rows)
    for given, name in ((chosen, "lazy"), (rows[2:], "whole")):
        assemble(given, sample_facts(rows), tmp_path / "images", tmp_path / name)
    assert contents(tmp_path / "lazy") == contents(tmp_path / "whole")
