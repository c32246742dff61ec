"""Backends that do nothing but take their time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from mis_dataset.options import option
from mis_dataset.records import Label
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.seeds import stable_random
from mis_dataset.teach import LabelRequest
from mis_dataset.teach.template import TemplateTeacher

SIDE = 256


@dataclass(frozen=True, kw_only=True)
class SleepyRenderer:
    """Draws a coloured checkerboard after a nap."""

    seconds: float = option(0.05, "Slept for each image.", minimum=0)

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        """Yield one drawing per order."""
        for order in orders:
            time.sleep(self.seconds)
            yield Drawing(picture(order.seed), model="sleepy", revision="1")


@dataclass(frozen=True, kw_only=True)
class SleepyTeacher:
    """Writes the template's label after a nap."""

    seconds: float = option(0.1, "Slept for each label.", minimum=0)

    def teach(self, requests: Sequence[LabelRequest]) -> Iterator[Label]:
        """Yield one label per request."""
        for label in TemplateTeacher().teach(requests):
            time.sleep(self.seconds)
            yield label


def picture(seed: int) -> Image.Image:
    """An image that no other seed gives: 8 by 8 coloured squares."""
    squares = Image.frombytes("RGB", (8, 8), stable_random(seed).randbytes(8 * 8 * 3))
    return squares.resize((SIDE, SIDE), Image.Resampling.NEAREST)
