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
from mis_dataset.assemble.card import read_metadata
from mis_dataset.recipe import CardSpec
from mis_dataset.resources import resource


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
    ("licence", "told"),
    [
        ("Apache 2.0", {"license": "apache-2.0"}),
        ("OpenRAIL++", {"license": "openrail++"}),
        ("For my friends: v1.0!", {"license": "other", "license_name": "for-my-friends-v1.0"}),
        ("other", {"license": "other", "license_name": "other"}),
    ],
)
def test_the_hub_takes_a_licence_that_it_does_not_know(rows, tmp_path: Path, licence: str, told: dict[str, str]):
    card = _card(rows, tmp_path / "mis", card=CardSpec(license=licence))
    assert card_problems(card) == []
    metadata = read_metadata(card)
    assert {key: metadata[key] for key in metadata if key.startswith("license")} == told
    assert f"\n{licence}, for the rows" in card


def test_every_licence_that_is_written_as_such_is_the_hubs(rows, tmp_path: Path):
    card = _card(rows, tmp_path / "mis")
    for name in resource("dataset_card", "hub_licences.txt").read_text().split():
        assert card_problems(card.replace("cc-by-4.0", name, 1)) == []


def test_the_hub_refuses_a_language_of_ones_own(rows, tmp_path: Path, hub: Hub):
    with pytest.raises(ValueError, match=r"language.*must be one of the Hub's"):
        DatasetCard(_card(rows, tmp_path / "mis", card=CardSpec(languages=("english",)))).validate()


# Whoever edits the card in the browser gets back what the library makes of it.
def test_the_metadata_are_still_taken_after_the_library_rewrote_them(rows, tmp_path: Path):
    card = DatasetCard(_card(rows, tmp_path / "mis"))
    assert card_problems(str(card)) == []
