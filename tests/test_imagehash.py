import random

import pytest
from PIL import Image, ImageEnhance

from mis_dataset.imagehash import BITS, NearIndex, hamming, perceptual_hash, with_company
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


def clustered(seed: int) -> list[str]:
    """Hashes around a few centres, up to twelve bits away from them."""
    rng = random.Random(seed)
    centres = [rng.getrandbits(BITS) for _ in range(40)]
    hashes = []
    for _ in range(400):
        value = rng.choice(centres)
        for bit in rng.sample(range(BITS), rng.randint(0, 12)):
            value ^= 1 << bit
        hashes.append(f"{value:016x}")
    return hashes


# What is known beforehand makes the index quick, and must not change what it finds.
@pytest.mark.parametrize("is_known_beforehand", [False, True])
@pytest.mark.parametrize("radius", [0, 1, 3, 8, 15])
def test_the_index_finds_exactly_what_brute_force_finds(radius: int, is_known_beforehand: bool):
    hashes = clustered(radius)
    index, known = NearIndex(radius, among=hashes if is_known_beforehand else None), {}
    for number, phash in enumerate(hashes):
        distances = {key: hamming(phash, other) for key, other in known.items()}
        near = [key for key, distance in distances.items() if distance <= radius]
        # The nearest, the earliest of equals.
        assert index.find(phash) == min(near, key=distances.__getitem__, default=None)
        index.add(phash, str(number))
        known[str(number)] = phash


@pytest.mark.parametrize("radius", [0, 1, 3, 8])
def test_company_is_what_brute_force_finds(radius: int):
    hashes = clustered(radius)
    in_company = {
        one
        for place, one in enumerate(hashes)
        if any(hamming(one, other) <= radius for other in hashes[:place] + hashes[place + 1 :])
    }
    assert with_company(hashes, radius) == in_company
    assert 0 < len(in_company) < len(set(hashes))


def test_hashes_that_are_far_apart_have_no_company():
    assert with_company(["0" * 16, "f" * 16, "0f" * 8], 3) == set()


def test_many_equal_hashes_are_company_and_the_others_are_not():
    # So many agree that not all of them are compared.
    alone = [f"{random.Random(number).getrandbits(BITS):016x}" for number in range(50)]
    assert with_company([*alone, *["0123456789abcdef"] * 5_000], 3) == {"0123456789abcdef"}


def test_no_hashes_have_no_company():
    assert with_company([], 3) == set()


def test_a_radius_that_asks_for_too_many_sorts_takes_all_for_company():
    hashes = [f"{random.Random(number).getrandbits(BITS):016x}" for number in range(50)]
    assert with_company(hashes, 15) == set(hashes)
