"""What it costs to keep an image without loss, by format and level: what the image store chooses between.

python -m benchmarks.encoding    half a minute on one core

Photographs are those that scikit-image ships, cut square and brought to 1024 by 1024 pixels; pictograms are drawn in
their own size. Times are those that one thread has the processor; the encoders of a build are several.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image, ImageOps

from mis_dataset.lexicon import things_by_name
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.render.pictogram import PictogramRenderer

ENCODINGS: dict[str, dict[str, Any]] = {
    **{f"PNG, level {level}": {"format": "PNG", "compress_level": level} for level in (1, 3, 6)},
    **{f"WebP lossless, method {method}": {"format": "WEBP", "lossless": True, "method": method} for method in (0, 4)},
}
"""What Pillow is told."""
_SIDE, _PICTOGRAMS, _REPEATS = 1024, 10, 3


def photographs() -> list[Image.Image]:
    """Ten photographs, RGB."""
    from tests.photo_corpus import PHOTOS

    files = (Image.open(io.BytesIO(photo.data)) for photo in PHOTOS)
    return [ImageOps.fit(file.convert("RGB"), (_SIDE, _SIDE), Image.Resampling.LANCZOS) for file in files]


def pictograms() -> list[Image.Image]:
    """As many pictograms, RGB."""
    things = sorted(things_by_name())[:: len(things_by_name()) // _PICTOGRAMS][:_PICTOGRAMS]
    drawings = PictogramRenderer().render([DrawOrder(thing, thing, seed) for seed, thing in enumerate(things)])
    return [drawing.image for drawing in drawings if isinstance(drawing, Drawing)]


def encoded(image: Image.Image, encoding: str) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, **ENCODINGS[encoding])
    return buffer.getvalue()


def table(sources: Mapping[str, Sequence[Image.Image]], repeats: int = _REPEATS) -> Iterator[str]:
    """Milliseconds and kilobytes an image as Markdown, line by line.

    Args:
        sources: images by what they are.
        repeats: of how many passes over all images the time is the median.
    """
    yield f"| encoding |{''.join(f' {kind}: ms | kB |' for kind in sources)}"
    yield f"| --- |{' ---: | ---: |' * len(sources)}"
    for encoding in ENCODINGS:
        cells = [cell for images in sources.values() for cell in _cells(images, encoding, repeats)]
        yield f"| {' | '.join([encoding, *cells])} |"


def _cells(images: Sequence[Image.Image], encoding: str, repeats: int) -> tuple[str, str]:
    seconds = []
    for _ in range(repeats):
        begun = time.thread_time()
        sizes = [len(encoded(image, encoding)) for image in images]
        seconds.append(time.thread_time() - begun)
    count = len(images)
    return f"{1000 * statistics.median(seconds) / count:.0f}", f"{sum(sizes) / 1000 / count:,.0f}"


if __name__ == "__main__":
    for line in table({"photographs": photographs(), "pictograms": pictograms()}):
        print(line, flush=True)
