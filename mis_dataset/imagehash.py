"""Perceptual hashing, and finding all images within a small Hamming distance without comparing all pairs.

The hash is the DCT hash described by Zauner ("Implementation and Benchmarking of Perceptual Image Hash Functions",
2010) and used by the ``ImageHash`` library: 32 x 32 grey values, the 8 x 8 lowest frequencies, one bit each for "above
the median".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import combinations
from math import comb, log2

import numpy as np
import numpy.typing as npt
from PIL import Image

_SIDE, _LOW = 32, 8
BITS = _LOW * _LOW
_SPARE_BITS = 5
_MOST_SORTS = 2_000
_MOST_ALIKE = 2_000

Hashes = npt.NDArray[np.uint64]


@cache
def _dct() -> npt.NDArray[np.float64]:
    """The rows of the DCT-II matrix for the lowest frequencies, shape (8, 32)."""
    frequency, place = np.mgrid[:_LOW, :_SIDE]
    cosines: npt.NDArray[np.float64] = np.cos(np.pi * frequency * (2 * place + 1) / (2 * _SIDE))
    return cosines


def perceptual_hash(image: Image.Image) -> str:
    """The 64-bit DCT hash of an image as 16 hexadecimal digits; similar images differ in few bits."""
    grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    low = (_dct() @ grey @ _dct().T).ravel()
    return np.packbits(low > np.median(low)).tobytes().hex()


def hamming(one: str, other: str) -> int:
    """In how many bits two hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


class NearIndex:
    """Finds an earlier entry within ``radius`` bits.

    The hash is cut into ``radius + 1`` bands; two hashes that differ in at most ``radius`` bits agree in at least one
    band (pigeonhole), so only entries that share a band are compared. Recall is 1 by construction.

    Args:
        radius: in how many bits two near hashes differ at most.
        among: every hash that will be added or looked for, where they are known beforehand. Those that are near none of
            the others, by far the most as a rule, then cost next to nothing. A hash that comes twice is near itself.
    """

    def __init__(self, radius: int, among: Iterable[str] | None = None) -> None:
        self.radius = radius
        self._company = None if among is None else with_company(among, radius)
        bands = np.array_split(np.arange(BITS), radius + 1)
        self._bands = [(number, int(band[0]), (1 << len(band)) - 1) for number, band in enumerate(bands)]
        self._entries: list[tuple[int, str]] = []
        self._buckets: dict[tuple[int, int], list[int]] = defaultdict(list)

    def add(self, phash: str, key: str) -> None:
        """Remember a hash under a key."""
        if self._company is None or phash in self._company:
            value = int(phash, 16)
            for bucket in self._keys(value):
                self._buckets[bucket].append(len(self._entries))
            self._entries.append((value, key))

    def find(self, phash: str) -> str | None:
        """The key of the nearest entry within the radius, the earliest of equals."""
        if self._company is not None and phash not in self._company:
            return None
        value = int(phash, 16)
        nearest = self.radius + 1, -1
        for bucket in self._keys(value):
            for number in self._buckets.get(bucket, ()):
                distance = (value ^ self._entries[number][0]).bit_count()
                nearest = min(nearest, (distance, number))
        return self._entries[nearest[1]][1] if nearest[0] <= self.radius else None

    def _keys(self, value: int) -> list[tuple[int, int]]:
        return [(number, value >> first & mask) for number, first, mask in self._bands]


def as_numbers(hashes: Iterable[str]) -> Hashes:
    """Hashes as 64-bit numbers, shape (n,)."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=">u8").astype(np.uint64)


def with_company(hashes: Iterable[str], radius: int) -> set[str]:
    """Every hash that is within ``radius`` bits of another one, or comes twice.

    The hash is cut into ``radius + k`` blocks; two near hashes agree in at least k of them. For each choice of k blocks
    the hashes are sorted by those blocks, and what is equal there is compared (Manku, Jain and Das Sarma, "Detecting
    Near-Duplicates for Web Crawling", 2007). The more hashes, the larger k, so that few are equal by chance: the time
    grows hardly faster than their number. Where thousands agree in the same blocks, or the radius asks for too many
    choices, hashes are taken to have company unseen: then some come along that have none, and none is left out.
    """
    numbers = np.fromiter((int(phash, 16) for phash in hashes), np.uint64)  # a tenth of what a list of hashes takes
    if (masks := _masks(radius, len(numbers))) is None:
        return set(_as_hashes(numbers))
    found = np.zeros(len(numbers), dtype=bool)
    for mask in masks:
        keys = numbers & mask
        order = np.argsort(keys)
        keys = keys[order]
        places, step = np.flatnonzero(keys[:-1] == keys[1:]), 1  # of hashes that agree with the one `step` places on
        while len(places) and step < _MOST_ALIKE:
            ones, others = order[places], order[places + step]
            near = np.bitwise_count(numbers[ones] ^ numbers[others]) <= radius
            found[ones[near]] = found[others[near]] = True
            step += 1
            places = places[places + step < len(keys)]
            places = places[keys[places] == keys[places + step]]
        if len(places):
            found[order[np.isin(keys, keys[places])]] = True
    return set(_as_hashes(numbers[found]))


def _as_hashes(numbers: Hashes) -> Iterator[str]:
    return (f"{number:0{BITS // 4}x}" for number in numbers.tolist())


def _masks(radius: int, count: int) -> list[np.uint64] | None:
    """The bits of every choice of k out of ``radius + k`` blocks, or None if there are too many choices.

    k is the least for which not even one in thirty of so many random hashes agrees with another.
    """
    for chosen in range(1, BITS - radius + 1):
        if BITS * chosen / (radius + chosen) >= log2(count + 1) + _SPARE_BITS:
            if comb(radius + chosen, chosen) > _MOST_SORTS:
                return None
            blocks = [sum(1 << int(bit) for bit in block) for block in np.array_split(np.arange(BITS), radius + chosen)]
            return [np.uint64(sum(choice)) for choice in combinations(blocks, chosen)]
    return None
