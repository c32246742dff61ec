"""The licence under which somebody else's dataset is imported, as the Hub will take it."""

from __future__ import annotations

from pathlib import Path

import pytest
from card_rules import card_problems
from official_files import OfficialFiles

from mis_dataset.errors import UsageError
from mis_dataset.intake import import_dataset
from mis_dataset.recipe import CardSpec


def test_a_licence_of_their_own_is_named_on_the_card(tmp_path: Path):
    source = OfficialFiles(tmp_path / "official").write().root
    import_dataset("legacy", source, tmp_path / "out", card=CardSpec(license="Ours, v2"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'license: "other"\nlicense_name: "ours-v2"\n' in card
    assert "Ours, v2, as stated by whoever imported it" in card
    assert card_problems(card) == []


@pytest.mark.parametrize("licence", ["", " ", "two\nlines", "\udcff", "?"])
def test_what_names_no_licence_is_refused_before_anything_is_read(tmp_path: Path, licence: str):
    with pytest.raises(UsageError, match=r"card\.license: .* does not fit; One line of text: an identifier such as"):
        import_dataset("legacy", tmp_path / "nowhere", tmp_path / "out", card=CardSpec(license=licence))
    assert not (tmp_path / "out").exists()
