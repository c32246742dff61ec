"""How much of some files a store of content-defined chunks does not have yet: what an upload to the Hub sends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

_WINDOW = 64
_LEAST, _MOST = 8 * 1024, 128 * 1024
_PIECE = 1 << 18
_MASK = np.uint64(0xFFFF_0000_0000_0000)  # zero once in 64 KiB
_GEAR = np.random.default_rng(0).integers(0, 1 << 64, 256, dtype=np.uint64)


def new_bytes(before: Iterable[Path], after: Iterable[Path]) -> int:
    """The bytes of the chunks of ``after`` that no file of ``before`` has, each counted once."""
    known = {digest for path in before for digest, _ in _chunks(path.read_bytes())}
    fresh = {digest: size for path in after for digest, size in _chunks(path.read_bytes()) if digest not in known}
    return sum(fresh.values())


def _chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """SHA-256 and length of each chunk, by the sizes that the Hub's Xet storage works with: 8, 64 and 128 KiB.

    The rolling hash is Gear (Xia et al., "Ddelta: A Deduplication-Inspired Fast Delta Compression Approach", 2014).
    """
    start = 0
    cuts = iter(_cuts(data))
    cut = next(cuts, None)
    while start < len(data):
        end = min(start + _MOST, len(data))
        while cut is not None and cut + 1 < start + _LEAST:
            cut = next(cuts, None)
        if cut is not None and cut + 1 < end:
            end = cut + 1
        yield hashlib.sha256(data[start:end]).digest(), end - start
        start = end


def _cuts(data: bytes) -> Iterator[int]:
    """The places at which the rolling hash would end a chunk; a piece at a time, for the hashes take eight bytes each."""
    for start in range(0, len(data), _PIECE):
        lead = min(start, _WINDOW)
        hashes = _gear(data[start - lead : start + _PIECE])[lead:]
        yield from (start + np.flatnonzero((hashes & _MASK) == 0)).tolist()


def _gear(data: bytes) -> np.ndarray:
    """At each byte the sum of ``gear[byte] << age`` over the last 64 bytes, modulo 2^64."""
    found = _GEAR[np.frombuffer(data, np.uint8)]
    width = 1
    while width < _WINDOW:  # what is known of so many bytes and of as many before them makes twice as many
        found[width:] += found[:-width] << np.uint64(width)
        width *= 2
    return found
