import random

import pytest
from PIL import Image, ImageEnhance

from mis_dataset.imagehash import BITS, NearIndex, hamming, perceptual_hash
from mis_dataset.lexicon import Thing
from mis_dataset.render.pictogram import draw


def scene(icon: str, seed: int) -> Image.Image:
    return draw(Thing(icon, icon, (icon,), None, "table", "", harmful=False), 128, seed)


def test_a_copy_with_another_size_and_brightness_is_near():
    image = scene("bicycle", 1)
    altered = ImageEnhance.Brightness(image.resize((200, 200))).enhance(1.1)
    assert hamming(perceptual_hash(image), perceptual_hash(altered)) <= 3


def test_different_things_are_far_apart():
    assert hamming(perceptual_hash(scene("bicycle", 1)), perceptual_hash(scene("guitar_acoustic", 2))) > 8


def test_a_hash_has_sixteen_digits():
    assert len(perceptual_hash(Image.new("RGB", (9, 9)))) == 16


@pytest.mark.parametrize("radius", [0, 1, 3, 8, 15])
def test_the_index_finds_exactly_what_brute_force_finds(radius: int):
    rng = random.Random(radius)
    centres = [rng.getrandbits(BITS) for _ in range(40)]
    hashes = []
    for _ in range(400):
        value = rng.choice(centres)
        for bit in rng.sample(range(BITS), rng.randint(0, 12)):
            value ^= 1 << bit
        hashes.append(f"{value:016x}")
    index, known = NearIndex(radius), {}
    for number, phash in enumerate(hashes):
        near = [hamming(phash, other) for other in known.values() if hamming(phash, other) <= radius]
        found = index.find(phash)
        assert (found is not None) == bool(near)
        if found:
            assert hamming(phash, known[found]) == min(near)
        index.add(phash, str(number))
        known[str(number)] = phash
