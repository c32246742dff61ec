"""The embedded renderer: pleasant scenes of a named thing, drawn from the Material Design Icons font.

No network, no GPU, and the same bytes on every machine with the same Pillow. The thing is looked up in the lexicon by
its name; a name that the lexicon lacks is matched with the icons' own names word by word, from the last word on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import ClassVar

from fonticon_mdi7 import MDI7
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mis_dataset.lexicon import Thing, things_by_name
from mis_dataset.options import option
from mis_dataset.records import Rejected
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.render._scenes import BACKDROPS, gradient, hsl
from mis_dataset.seeds import stable_random

FONT_VERSION = "7.2.96"

# Hue in turns and saturation; lightness is chosen so that the thing stands out from its backdrop.
_INKS = {
    "red": (0.0, 0.7),
    "orange": (0.07, 0.8),
    "amber": (0.11, 0.8),
    "green": (0.36, 0.55),
    "teal": (0.48, 0.6),
    "blue": (0.58, 0.65),
    "indigo": (0.65, 0.55),
    "purple": (0.77, 0.5),
    "pink": (0.92, 0.6),
    "brown": (0.06, 0.4),
    "grey": (0.6, 0.08),
    "black": (0.62, 0.2),
}
_PAPER = (252, 250, 245)


@dataclass(frozen=True, kw_only=True)
class PictogramRenderer:
    """Draws icons as stickers on a calm backdrop; layout, colour, scale and backdrop vary with the seed."""

    version: ClassVar[int] = 1
    # How a thing looks is read from the lexicon, whoever composed the scenario.
    sources: ClassVar[tuple[Path, ...]] = (Path(__file__).parent.parent / "data" / "objects",)

    size: int = option(512, "Width and height in pixels.", minimum=64, maximum=2048)

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing | Rejected]:
        """Draw each order; an object without an icon is rejected with the reason ``no_icon``."""
        for order in orders:
            thing = things_by_name().get(order.object) or _guess(order.object)
            if thing is None:
                yield Rejected(
                    "no_icon", f"no icon shows {order.object!r}; use the diffusion renderer for free wording"
                )
            else:
                yield Drawing(draw(thing, self.size, order.seed), model="pictogram", revision=f"mdi-{FONT_VERSION}")


def draw(thing: Thing, size: int, seed: int) -> Image.Image:
    """One scene, RGB, ``size`` pixels square; the same seed gives the same pixels."""
    rng = stable_random("pictogram", seed)
    scene = thing.scene if thing.scene != "plain" or rng.random() < 0.6 else rng.choice(["table", "room", "nature"])
    # Pillow's shapes have hard edges (its text does not): the backdrop is drawn at twice the size and reduced.
    image = BACKDROPS[scene](2 * size, rng).reduce(2)
    ink = thing.colour or rng.choice([name for name in _INKS if name not in ("grey", "black")])
    main, *companions = thing.icons
    scale = rng.uniform(0.5, 0.6) if companions else rng.uniform(0.54, 0.68)
    lean = rng.choice([-1, 1]) if companions else 0
    x = 0.5 - 0.11 * lean + rng.uniform(-0.04, 0.04)
    y = 0.5 + rng.uniform(-0.03, 0.06)
    _stick(image, main, ink, (x, y), scale, rng)
    for number, companion in enumerate(companions):
        height = 0.76 - 0.45 * number + rng.uniform(-0.04, 0.04)
        spot = (0.5 + lean * rng.uniform(0.27, 0.31), height)
        _stick(image, companion, rng.choice(["blue", "teal", "indigo", "brown"]), spot, rng.uniform(0.27, 0.33), rng)
    return image


def glyph(icon: str) -> str:
    """The character of an icon by its name, such as ``bolt`` (``AttributeError`` if the font lacks it)."""
    character: str = getattr(MDI7, icon)[-1]
    return character


def _stick(image: Image.Image, icon: str, ink: str, spot: tuple[float, float], scale: float, rng: Random) -> None:
    """Paste an icon like a sticker: paper rim, soft shadow, ink with a slight gradient."""
    side = round(image.width * scale)
    box = round(side * 1.3)
    middle = (box / 2, box / 2)
    font = _font(side)
    angle = rng.uniform(-5, 5)

    def mask(stroke: int) -> Image.Image:
        layer = Image.new("L", (box, box))
        ImageDraw.Draw(layer).text(middle, glyph(icon), 255, font, "mm", stroke_width=stroke)
        return layer.rotate(angle, Image.Resampling.BICUBIC)

    rim = mask(max(2, side // 28))
    shadow = rim.filter(ImageFilter.GaussianBlur(side / 50)).point(lambda value: value * 0.35)
    left, top = round(image.width * spot[0] - box / 2), round(image.height * spot[1] - box / 2)
    drop = round(side / 40)
    image.paste((30, 30, 50), (left + drop, top + 2 * drop), shadow)
    image.paste(_PAPER, (left, top), rim)
    hue, saturation = _INKS[ink]
    hue += rng.uniform(-0.02, 0.02)
    light = 0.2 if ink == "black" else rng.uniform(0.36, 0.46)
    image.paste(
        gradient(box, hsl(hue, saturation, light + 0.1), hsl(hue, saturation, light - 0.06)), (left, top), mask(0)
    )


@cache
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(MDI7.__font_file__, pixels)


def _guess(name: str) -> Thing | None:
    """A thing for a free name: the longest run of its last words that is an icon's name."""
    words = [word.strip(".,").lower() for word in name.split()]
    for start in range(len(words)):
        icon = "_".join(words[start:]).replace("-", "_")
        for candidate in (icon, icon.removesuffix("s")):
            if candidate.isidentifier() and not candidate.startswith("_") and hasattr(MDI7, candidate):
                return Thing(name, name, (candidate,), None, "plain", name, harmful=False)
    return None
