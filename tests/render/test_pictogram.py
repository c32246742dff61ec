import numpy as np
import pytest

from mis_dataset.imagehash import hamming, perceptual_hash
from mis_dataset.lexicon import SCENES, Thing
from mis_dataset.records import Rejected
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.render.pictogram import PictogramRenderer, draw


def thing(scene: str = "plain", icons: tuple[str, ...] = ("bicycle",)) -> Thing:
    return Thing("t", "a thing", icons, None, scene, "", harmful=False)


def rendered(*objects: str, size: int = 64) -> list[Drawing | Rejected]:
    orders = [DrawOrder(name, "", seed) for seed, name in enumerate(objects)]
    return list(PictogramRenderer(size=size).render(orders))


def test_the_image_has_the_size_asked_for():
    (drawing,) = rendered("a bicycle", size=96)
    assert isinstance(drawing, Drawing)
    assert (drawing.image.size, drawing.image.mode) == ((96, 96), "RGB")


def test_the_same_seed_gives_the_same_pixels():
    assert draw(thing(), 64, 5).tobytes() == draw(thing(), 64, 5).tobytes()


@pytest.mark.parametrize("scene", SCENES)
def test_layout_and_colour_vary_with_the_seed(scene: str):
    hashes = [perceptual_hash(draw(thing(scene), 128, seed)) for seed in range(8)]
    assert len(set(hashes)) == 8


@pytest.mark.parametrize("scene", SCENES)
def test_the_thing_stands_out_from_its_backdrop(scene: str):
    # A thing without ink would leave the bare backdrop; the drawn one must change a good part of the image, visibly.
    image = np.asarray(draw(thing(scene, ("square",)), 128, 3), dtype=int)
    middle, corner = image[64, 64], image[4, 64]
    assert np.abs(middle - corner).sum() > 60


def test_companions_are_drawn_too():
    alone, together = draw(thing(), 128, 1), draw(thing(icons=("bicycle", "lock")), 128, 1)
    assert hamming(perceptual_hash(alone), perceptual_hash(together)) > 0


def test_a_free_name_is_matched_with_the_icons_own_names():
    assert all(isinstance(drawing, Drawing) for drawing in rendered("a rusty old hammer", "two garden chairs umbrella"))


def test_an_object_that_cannot_be_drawn_is_rejected_with_the_reason():
    (outcome,) = rendered("a feeling of unease qwx")
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "no_icon"


def test_results_come_in_order():
    first, second, third = rendered("a hammer", "a feeling of unease qwx", "a lock")
    assert isinstance(first, Drawing)
    assert isinstance(second, Rejected)
    assert isinstance(third, Drawing)
