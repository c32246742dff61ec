"""The card's metadata are such as the Hub takes, by its own client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from card_rules import card_problems
from hub import Hub
from huggingface_hub import DatasetCard
from samples import sample_facts, sample_rows

from mis_dataset.assemble import Imported, assemble
from mis_dataset.recipe import CardSpec


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("store")
    return sample_rows(folder, 6), folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        yield hub


def _card(rows, out: Path, **facts) -> str:
    records, images = rows
    assemble(records, replace(sample_facts(records), **facts), images, out)
    return (out / "README.md").read_text()


def test_the_hub_takes_the_card(rows, tmp_path: Path, hub: Hub):
    DatasetCard(_card(rows, tmp_path / "mis")).validate()
    assert hub.requests == ["POST /api/validate-yaml"]


@pytest.mark.parametrize("licence", ["unknown", "cc-by-nc-4.0"])
def test_the_hub_takes_the_card_of_what_was_imported(rows, tmp_path: Path, licence: str):
    spec = CardSpec(pretty_name="Somebody's", license=licence, languages=("en", "de"), tags=("theirs",))
    facts = {"stages": {}, "recipe_text": "", "rounds": 0, "quotas": (), "imported": Imported("llava", "theirs.json")}
    assert card_problems(_card(rows, tmp_path / "mis", card=spec, **facts)) == []


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (CardSpec(license="for-my-friends"), "license"),
        (CardSpec(languages=("english",)), "language"),
    ],
)
def test_the_hub_refuses_a_recipe_that_makes_words_of_its_own(rows, tmp_path: Path, hub: Hub, spec, problem):
    with pytest.raises(ValueError, match=f"{problem}.*must be one of the Hub's"):
        DatasetCard(_card(rows, tmp_path / "mis", card=spec)).validate()


# Whoever edits the card in the browser gets back what the library makes of it.
def test_the_metadata_are_still_taken_after_the_library_rewrote_them(rows, tmp_path: Path):
    card = DatasetCard(_card(rows, tmp_path / "mis"))
    assert card_problems(str(card)) == []
