"""What drawing with a diffusion model costs beside the model itself.

python -m benchmarks.diffusion           the renderer against a bare loop on the CPU; real sizes, if there is a GPU
python -m benchmarks.diffusion --quick   fewer images, medians of three
python -m benchmarks.diffusion --tiny    the part for a GPU with tiny models on the CPU: shows that it runs, no more

All figures are ratios of things measured in turn in the same run.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.diffusion_gpu import SIZES, gpu_table
from benchmarks.table import Measured, argument_parser, markdown
from mis_dataset.records import ImageSpec
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.render.diffusion import DiffusionRenderer
from mis_dataset.run.draw import Artist
from mis_dataset.run.images import ImageStore

_STEPS, _SIDE = 12, 128


@dataclass(frozen=True)
class Waiting:
    """Draws noise and waits as for a GPU, on which denoising leaves the processor alone."""

    seconds: float
    """Of each image."""

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        """One image an order."""
        for order in orders:
            begun = time.perf_counter()
            noise = np.random.default_rng(order.seed).integers(0, 256, (512, 512, 3), dtype=np.uint8)
            image = Image.fromarray(noise)
            time.sleep(max(0.0, self.seconds - (time.perf_counter() - begun)))
            yield Drawing(image, model="waiting", revision="1")


def measure(repeats: int = 5, quick: bool = False) -> list[Measured]:
    """What the renderer adds to a bare loop, and what encoding adds to drawing.

    Args:
        repeats: of how many measurements each figure is the median, or the best.
        quick: fewer images in the first part.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would wait for each other wherever the processor has other work
    try:
        with tempfile.TemporaryDirectory() as folder:
            beside, is_same = _beside_a_bare_loop(Path(folder), repeats, images=6 if quick else 16)
            # Fewer would measure the last one's encoding, behind which nothing is drawn any more.
            hidden = _hidden(Path(folder), repeats, images=40)
    finally:
        torch.set_num_threads(threads)
    return [
        Measured("diffusion renderer: wall ÷ bare pipeline loop", beside, 1.03),
        Measured("diffusion renderer: share of images equal to the bare loop's", is_same, 1, is_at_most=False),
        Measured("encoding behind denoising: wall ÷ the longer of both", hidden, 1.05),
    ]


def _beside_a_bare_loop(folder: Path, repeats: int, images: int) -> tuple[float, float]:
    """Wall ÷ wall, and the share of equal images."""
    import torch
    from diffusers import DiffusionPipeline

    from tests.tiny_pipelines import tiny_sd3

    model = tiny_sd3(folder / "model")
    orders = [DrawOrder("a cup", f"a photo of {number} cups", number) for number in range(images)]
    renderer = DiffusionRenderer(model=str(model), steps=_STEPS, width=_SIDE, height=_SIDE, device="cpu")
    pipeline = DiffusionPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)

    def bare(order: DrawOrder) -> Any:
        generator = torch.Generator("cpu").manual_seed(order.seed)
        call = pipeline(order.prompt, generator=generator, num_inference_steps=_STEPS, width=_SIDE, height=_SIDE)
        return call.images[0]

    def ours(some: Sequence[DrawOrder]) -> list[Image.Image]:
        return [drawing.image for drawing in renderer.render(some) if isinstance(drawing, Drawing)]

    expected, found = [bare(orders[0])], ours(orders[:1])  # both are loaded and warm now
    ratios = []
    for turn in range(repeats):
        # Prompts that were not read before, so that remembering them wins nothing here.
        fresh = [DrawOrder(one.object, f"{one.prompt}, {turn}", one.seed) for one in orders]
        # Image by image in turn: whatever else the machine does meets both alike.
        pairs = [(_timed(lambda one=one: bare(one)), _timed(lambda one=one: ours([one]))) for one in fresh]
        ratios.append(sum(wall for _, (wall, _) in pairs) / sum(wall for (wall, _), _ in pairs))
        expected += [image for (_, image), _ in pairs]
        found += [image for _, (_, (image,)) in pairs]
    equal = sum(one.tobytes() == other.tobytes() for one, other in zip(expected, found, strict=True))
    return statistics.median(ratios), equal / len(expected)


def _hidden(folder: Path, repeats: int, images: int) -> float:
    """The wall of drawing and keeping ÷ that of the longer of both alone, each the best of some.

    What waits is held up by whatever else the machine does, and never let off: the best is nearest to the truth.
    """
    renderer = Waiting(0.1)
    walls: list[tuple[float, float, float]] = []
    orders = [DrawOrder("a cup", "a cup", number) for number in range(images)]
    for turn in range(repeats):
        store, alone = ImageStore(folder / f"kept-{turn}"), ImageStore(folder / f"alone-{turn}")
        wanted = {("family", number, "a cup"): ImageSpec("a cup", "a cup", harmful=False) for number in range(images)}
        artist = Artist(renderer, store, seed=turn, max_redraws=0)
        whole, _ = _timed(lambda artist=artist, wanted=wanted: artist.draw(wanted, lambda _: None))
        denoising, drawn = _timed(lambda: [drawing.image for drawing in renderer.render(orders)])
        with ThreadPoolExecutor(2) as pool:
            encoding, _ = _timed(lambda pool=pool, alone=alone, drawn=drawn: list(pool.map(alone.save, drawn)))
        walls.append((whole, denoising, encoding))
    whole, denoising, encoding = map(min, zip(*walls, strict=True))
    return whole / max(denoising, encoding)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argument_parser("benchmarks.diffusion", __doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images, medians of three")
    parser.add_argument("--tiny", action="store_true", help="only the part for a GPU, with tiny models on the CPU")
    names = [size.name for size in SIZES]
    parser.add_argument("--only", choices=names, help="only one model of the part for a GPU")
    chosen = parser.parse_args()
    if not (chosen.tiny or chosen.only):
        print(markdown(measure(3 if chosen.quick else 5, quick=chosen.quick)), end="\n\n", flush=True)
    for line in gpu_table([size for size in SIZES if chosen.only in (None, size.name)], tiny=chosen.tiny):
        print(line, flush=True)


if __name__ == "__main__":
    main()
