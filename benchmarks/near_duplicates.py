"""Finding near-duplicate images: how the time grows with their number, and whether any is missed.

python -m benchmarks.near_duplicates            a hundred thousand and a million hashes; half a minute
python -m benchmarks.near_duplicates --quick    a tenth of them

The hashes are random, as those of unlike images are; one in fifty is an earlier one with up to three bits changed.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.table import Measured, markdown
from mis_dataset.imagehash import BITS, Hashes, NearIndex, as_numbers
from mis_dataset.recipe import SplitSpec

_FEWER, _TIMES = 100_000, 10
_RADIUS = SplitSpec().image_distance
_COMPARED = 300
"""How many hashes are compared with all that came before them."""


@dataclass(frozen=True)
class Found:
    """What the split's search for near-duplicates came to."""

    seconds: float
    """Of the processor: there is but one thread, and others may use the machine."""
    nearest: list[str | None]
    """For each hash the number of the earlier one that it is near, as the index says."""


def measure(repeats: int = 5, quick: bool = False) -> list[Measured]:
    """The ratio of the times, and the recall."""
    fewer = _FEWER // 10 if quick else _FEWER
    parts = [_hashes(fewer, seed) for seed in range(_TIMES)]
    hashes = list(itertools.chain.from_iterable(parts))
    ratios, recalls = list[float](), list[float]()
    for _ in range(repeats):
        few = statistics.mean(_search(part).seconds for part in parts)
        found = _search(hashes)
        ratios.append(found.seconds / few)
        recalls.append(_recall(hashes, found.nearest))
    return [
        Measured(
            f"near-duplicates: t({fewer * _TIMES:.0e}) ÷ t({fewer:.0e})",
            statistics.median(ratios),
            14,
            remark=f"{min(ratios):.3g} to {max(ratios):.3g}; {found.seconds:.2g} s for {fewer * _TIMES:.0e} hashes",
        ),
        Measured(
            f"near-duplicates: recall within {_RADIUS} bits",
            min(recalls),
            1.0,
            is_at_most=False,
            remark=f"{_COMPARED} hashes against all earlier ones, half of them near one",
        ),
    ]


def _hashes(count: int, seed: int) -> list[str]:
    """Every fiftieth is an earlier one with 0 to 3 bits flipped."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2**BITS, count, dtype=np.uint64)
    for place in range(50, count, 50):
        flipped = rng.choice(BITS, rng.integers(_RADIUS + 1), replace=False)
        values[place] = values[rng.integers(place)] ^ np.uint64(sum(1 << int(bit) for bit in flipped))
    return [f"{value:016x}" for value in values.tolist()]


def _search(hashes: list[str]) -> Found:
    """What the split does with the hashes, all of them kept, so that each may be near any earlier one."""
    names = list(map(str, range(len(hashes))))
    begun = time.process_time()
    index, nearest = NearIndex(_RADIUS, among=hashes), list[str | None]()
    for name, phash in zip(names, hashes, strict=True):
        nearest.append(index.find(phash))
        index.add(phash, name)
    return Found(time.process_time() - begun, nearest)


def _recall(hashes: list[str], nearest: list[str | None]) -> float:
    """The share of a sample of hashes of which the index finds the nearest earlier one within the radius, or none."""
    values = as_numbers(hashes)
    places = np.random.default_rng(0).integers(1, len(values) // 50, _COMPARED) * 50
    places[::2] += 1
    return statistics.mean(float(nearest[place] == _brute_force(values, place)) for place in places.tolist())


def _brute_force(values: Hashes, place: int) -> str | None:
    distances = np.bitwise_count(values[:place] ^ values[place])
    first = int(np.argmin(distances))
    return str(first) if distances[first] <= _RADIUS else None


if __name__ == "__main__":
    print(markdown(measure(quick="--quick" in sys.argv)))
