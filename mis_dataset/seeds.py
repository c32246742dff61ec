"""Randomness that depends on names alone: not on order, worker, shard or process."""

from __future__ import annotations

import hashlib
import random


def stable_digest(*parts: object) -> str:
    """SHA-256 of the parts as 64 hexadecimal digits; equal parts give equal digests on every machine."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def stable_seed(*parts: object) -> int:
    """A seed in [0, 2**63), so that it fits every generator (torch's wants a signed 64-bit integer)."""
    return int(stable_digest(*parts)[:16], 16) >> 1


def stable_random(*parts: object) -> random.Random:
    """A generator of its own, seeded by the parts."""
    return random.Random(stable_seed(*parts))
