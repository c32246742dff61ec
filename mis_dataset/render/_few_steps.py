"""Models made to draw in a few steps, known by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_NAMED = re.compile(r"(?:^|[^a-z])(turbo|schnell|lightning|hyper)(?:[^a-z]|$)", re.IGNORECASE)

FEW_STEPS = {"num_inference_steps": 4, "guidance_scale": 0.0}
"""What their authors advise, all of them within one to four steps, and none was trained to be guided."""


def few_steps(names: Iterable[str]) -> dict[str, Any]:
    """What to call a model with where the recipe does not say: empty unless one of its names tells of few steps."""
    return dict(FEW_STEPS) if any(map(_NAMED.search, names)) else {}
