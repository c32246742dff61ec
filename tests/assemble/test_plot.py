"""The card's pictures."""

from dataclasses import replace

import pytest
from PIL import Image
from samples import sample_rows

from mis_dataset.assemble.chosen import Chosen
from mis_dataset.assemble.counts import count
from mis_dataset.assemble.plot import draw_composition, draw_preview
from mis_dataset.run.images import ImageStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    return sample_rows(folder, 12), ImageStore(folder)


def _colours(path):
    with Image.open(path) as image:
        return {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}


def _size(path):
    with Image.open(path) as image:
        return image.size


def test_the_composition_shows_the_subsets_that_have_rows(store, tmp_path):
    draw_composition(count(store[0]), tmp_path / "plot.png")
    colours = _colours(tmp_path / "plot.png")
    assert {(0x3B, 0x6F, 0xB6), (0xE0, 0x8A, 0x1E), (0xB5, 0x33, 0x5C)} <= colours  # train, easy, hard
    assert (0x2F, 0x8F, 0x7A) not in colours  # real


def test_the_composition_has_a_line_per_sub_category(store, tmp_path):
    rows = store[0]
    draw_composition(count(rows), tmp_path / "six.png")
    draw_composition(count([row for row in rows if row.scenario.category != "Violent"]), tmp_path / "five.png")
    assert _size(tmp_path / "six.png")[1] > _size(tmp_path / "five.png")[1]


def test_the_preview_shows_three_families_with_their_twins(store, tmp_path):
    draw_preview(Chosen.all_of(store[0]), store[1], tmp_path / "all.png")
    one_family = [row for row in store[0] if row.scenario.family == "sample-2"]
    draw_preview(Chosen.all_of(one_family), store[1], tmp_path / "one.png")
    margins = 56
    assert _size(tmp_path / "all.png")[1] - margins == 3 * (_size(tmp_path / "one.png")[1] - margins)


# The preview opens by itself on the dataset's page.
@pytest.mark.parametrize("category", ["Erotic", "Self-Harm"])
def test_the_preview_leaves_out_what_could_shock(store, tmp_path, category):
    rows = [replace(row, scenario=replace(row.scenario, category=category)) for row in store[0]]
    draw_preview(Chosen.all_of(rows), store[1], tmp_path / "preview.png")
    assert _colours(tmp_path / "preview.png") == {(255, 255, 255)}
