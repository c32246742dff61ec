"""Perceptual hashing, and finding all images within a small Hamming distance without comparing all pairs.

The hash is the DCT hash described by Zauner ("Implementation and Benchmarking of Perceptual Image Hash Functions",
2010) and used by the ``ImageHash`` library: 32 x 32 grey values, the 8 x 8 lowest frequencies, one bit each for "above
the median".
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

_SIDE, _LOW = 32, 8
BITS = _LOW * _LOW


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
    """

    def __init__(self, radius: int) -> None:
        self.radius = radius
        self._bands = np.array_split(np.arange(BITS), radius + 1)
        self._buckets: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)

    def add(self, phash: str, key: str) -> None:
        """Remember a hash under a key."""
        value = int(phash, 16)
        for bucket in self._keys(value):
            self._buckets[bucket].append((value, key))

    def find(self, phash: str) -> str | None:
        """The key of the nearest entry within the radius, the earliest of equals."""
        value = int(phash, 16)
        best: tuple[int, str] | None = None
        for bucket in self._keys(value):
            for other, key in self._buckets.get(bucket, ()):
                distance = (value ^ other).bit_count()
                if distance <= self.radius and (best is None or distance < best[0]):
                    best = (distance, key)
        return best[1] if best else None

    def _keys(self, value: int) -> list[tuple[int, int]]:
        return [(number, value >> int(band[0]) & ((1 << len(band)) - 1)) for number, band in enumerate(self._bands)]
