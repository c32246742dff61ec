"""Backdrops for pictograms: calm places drawn from a few large shapes, each varied by a seed."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from random import Random

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]


def hsl(hue: float, saturation: float, lightness: float) -> Colour:
    """A colour from hue in turns, saturation and lightness in [0, 1]."""
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def gradient(size: int, top: Colour, bottom: Colour) -> Image.Image:
    """A vertical gradient, ``size`` pixels square."""
    strip = Image.new("RGB", (1, 2))
    strip.putdata([top, bottom])
    return strip.resize((size, size), Image.Resampling.BILINEAR, box=(0, 0.5, 1, 1.5))


def _table(size: int, rng: Random) -> Image.Image:
    wall = rng.random()
    image = gradient(size, hsl(wall, 0.35, 0.92), hsl(wall, 0.3, 0.82))
    draw = ImageDraw.Draw(image)
    edge = size * rng.uniform(0.66, 0.76)
    wood, light = rng.uniform(0.06, 0.1), rng.uniform(0.5, 0.66)
    draw.rectangle((0, edge, size, size), fill=hsl(wood, 0.42, light))
    draw.rectangle((0, edge, size, edge + size * 0.02), fill=hsl(wood, 0.42, light + 0.1))
    for _ in range(rng.randint(2, 4)):
        y = rng.uniform(edge + size * 0.05, size)
        draw.line(
            (0, y, size, y + size * rng.uniform(-0.01, 0.01)),
            fill=hsl(wood, 0.42, light - 0.05),
            width=max(1, size // 256),
        )
    return image


def _room(size: int, rng: Random) -> Image.Image:
    wall = rng.random()
    image = gradient(size, hsl(wall, 0.3, 0.9), hsl(wall, 0.28, 0.84))
    draw = ImageDraw.Draw(image)
    floor = size * rng.uniform(0.74, 0.82)
    draw.rectangle((0, floor, size, size), fill=hsl(wall + 0.5, 0.18, 0.68))
    draw.rectangle((0, floor - size * 0.02, size, floor), fill=hsl(wall, 0.15, 0.97))
    width, height = size * rng.uniform(0.2, 0.26), size * rng.uniform(0.24, 0.3)
    left, top = rng.choice([size * 0.06, size * 0.94 - width]), size * rng.uniform(0.07, 0.13)
    draw.rounded_rectangle(
        (left, top, left + width, top + height), size * 0.01, hsl(0.55, 0.6, 0.86), "white", max(2, size // 70)
    )
    draw.line((left + width / 2, top, left + width / 2, top + height), fill="white", width=max(2, size // 100))
    return image


def _street(size: int, rng: Random) -> Image.Image:
    image = gradient(size, hsl(rng.uniform(0.53, 0.6), 0.55, 0.8), hsl(rng.uniform(0.06, 0.14), 0.5, 0.93))
    draw = ImageDraw.Draw(image)
    ground, left = size * rng.uniform(0.76, 0.83), -size * rng.uniform(0, 0.1)
    hue = rng.random()
    while left < size:
        width = size * rng.uniform(0.12, 0.24)
        top = ground - size * rng.uniform(0.22, 0.56)
        draw.rectangle(
            (left, top, left + width, ground), fill=hsl(hue + rng.uniform(-0.06, 0.06), 0.16, rng.uniform(0.76, 0.84))
        )
        left += width + size * rng.uniform(0, 0.02)
    draw.rectangle((0, ground, size, size), fill=hsl(0.6, 0.06, 0.62))
    draw.rectangle((0, ground, size, ground + size * 0.03), fill=hsl(0.6, 0.06, 0.74))
    return image


def _nature(size: int, rng: Random) -> Image.Image:
    image = gradient(size, hsl(rng.uniform(0.52, 0.58), 0.65, 0.76), hsl(0.12, 0.6, 0.94))
    draw = ImageDraw.Draw(image)
    radius, x, y = size * rng.uniform(0.06, 0.09), size * rng.uniform(0.1, 0.9), size * rng.uniform(0.1, 0.2)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=hsl(0.13, 0.95, 0.82))
    for depth in range(3):
        middle, top = size * rng.uniform(0, 1), size * (0.6 + 0.12 * depth + rng.uniform(-0.03, 0.03))
        spread = size * rng.uniform(0.8, 1.2)
        draw.ellipse(
            (middle - spread, top, middle + spread, top + size),
            fill=hsl(rng.uniform(0.26, 0.36), 0.36, 0.72 - 0.1 * depth),
        )
    return image


def _night(size: int, rng: Random) -> Image.Image:
    hue = rng.uniform(0.6, 0.72)
    image = gradient(size, hsl(hue, 0.45, 0.24), hsl(hue, 0.4, 0.46))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(14, 28)):
        x, y, r = size * rng.random(), size * rng.uniform(0, 0.55), size * rng.uniform(0.002, 0.005)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=hsl(0.14, 0.6, 0.9))
    radius, x, y = size * rng.uniform(0.05, 0.08), size * rng.choice([0.12, 0.86]), size * rng.uniform(0.1, 0.18)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=hsl(0.14, 0.6, 0.92))
    draw.rectangle((0, size * rng.uniform(0.78, 0.85), size, size), fill=hsl(hue, 0.3, 0.3))
    return image


def _plain(size: int, rng: Random) -> Image.Image:
    hue = rng.random()
    image = gradient(size, hsl(hue, 0.5, 0.93), hsl(hue + rng.uniform(-0.12, 0.12), 0.5, 0.82))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(1, 3)):
        radius, x, y = size * rng.uniform(0.2, 0.45), size * rng.random(), size * rng.random()
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            fill=hsl(hue + rng.uniform(-0.08, 0.08), 0.5, rng.uniform(0.84, 0.94)),
        )
    return image.filter(ImageFilter.GaussianBlur(size / 200))


BACKDROPS: dict[str, Callable[[int, Random], Image.Image]] = {
    "table": _table,
    "room": _room,
    "street": _street,
    "nature": _nature,
    "night": _night,
    "plain": _plain,
}
