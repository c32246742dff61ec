"""Render: draw what each image has to show. A renderer is a dataclass with one method, ``render``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL.Image import Image

from mis_dataset.records import Rejected


@dataclass(frozen=True)
class DrawOrder:
    """One image to draw."""

    object: str
    """The thing to show, with its article: ``a bolt cutter``."""
    prompt: str
    """The text-to-image prompt."""
    seed: int
    """The seed of this image's own generator, in [0, 2**63)."""


@dataclass(frozen=True)
class Drawing:
    """One drawn image and what its pixels depend on besides prompt and seed."""

    image: Image
    """RGB."""
    model: str
    revision: str
    negative_prompt: str = ""
    steps: int | None = None
    guidance: float | None = None
    scheduler: str = ""
    device: str = "cpu"
    dtype: str = "uint8"
    batch: int = 1
    source: str = ""
    """Where a photograph comes from: a URL, or a file's name; empty for an image that was drawn."""
    licence: str = ""
    """A photograph's licence, as its source states it."""
    made_with: str = ""
    """The processor, versions and whatever else pixels depend on; empty where it is the package alone."""


class Renderer(Protocol):
    """The contract of every renderer."""

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing | Rejected]:
        """Yield one result per order, in order.

        A `Rejected` with reason ``blank`` (blank or blacked out by a safety checker) is drawn again from a new seed,
        as often as the recipe's ``render.max_redraws`` says; any other reason is final.

        Raises:
            RenderError: no image can be drawn at all.
        """
        ...
