"""Where the parts of a pipeline lie, how many images fit beside them, and what to do when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from mis_dataset.backends import require

EXTRA = "diffusion"
GIB = 2**30
_MEGAPIXEL = 2**20
_ROOM_EACH = 2 * GIB
"""What denoising and decoding a megapixel are reckoned to need beside the weights; the batch is measured."""
_LEAST_ROOM = GIB // 2
_MOST_PIXELS = 8 * _MEGAPIXEL
"""More at once would take memory and win nothing: the GPU is busy with these."""
_MOST_IMAGES = 64
_USED = 0.9
"""The share of the free memory that a measured batch may take: the allocator needs the rest."""
_SIGNS = ("out of memory", "allocate memory", "not enough memory", "ALLOC_FAILED")


@dataclass(frozen=True)
class Sizes:
    """Bytes of a pipeline's weights."""

    text: int
    """Of all text encoders."""
    denoiser: int
    """Of the transformer or UNet."""
    rest: int
    """Of the VAE and whatever else there is."""


@dataclass(frozen=True)
class Placement:
    """Where the parts lie while images are drawn; the VAE always stays on the device.

    Lying elsewhere changes no pixel, but what comes layer by layer is not compiled, and beside less a larger batch
    may fit: either changes the last digits.
    """

    text: Literal["stays", "shifts", "streams"]
    """Text encoders stay, or come when prompts are read, in turn with the denoiser, or come layer by layer."""
    denoiser: Literal["stays", "streams"]

    def __str__(self) -> str:
        return {
            ("stays", "stays"): "everything stays on it",
            ("shifts", "stays"): "text encoders and denoiser take turns on it",
            ("streams", "stays"): "the denoiser stays on it, the text encoders come layer by layer",
            ("shifts", "streams"): "the denoiser comes layer by layer, the text encoders only to read prompts",
            ("streams", "streams"): "denoiser and text encoders come layer by layer, which is slow",
        }[self.text, self.denoiser]


WHOLE = Placement("stays", "stays")


def choose_placement(sizes: Sizes, free: int, pixels: int, *, offload: bool | None = None) -> Placement:
    """The fastest placement that fits.

    Args:
        sizes: of the weights.
        free: bytes on the device, the weights not counted.
        pixels: of one image.
        offload: False: everything stays, whether it fits or not; True: text encoders never stay.
    """
    room = max(_LEAST_ROOM, _ROOM_EACH * pixels // _MEGAPIXEL)
    if offload is False or (offload is None and sizes.text + sizes.denoiser + sizes.rest + room <= free):
        return WHOLE
    return Placement(
        "shifts" if sizes.text + _LEAST_ROOM <= free else "streams",
        "stays" if sizes.denoiser + sizes.rest + room <= free else "streams",
    )


def free_bytes(device: str) -> int:
    """What is free on a CUDA device, this process's unused reserve included."""
    torch = require("torch", EXTRA)
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def measured_sizes(pipeline: Any) -> Sizes:
    """The bytes of a pipeline's weights."""
    text, denoisers, rest = _parts(pipeline)
    return Sizes(*(sum(map(_weights, modules)) for modules in (text, denoisers, rest)))


def place(pipeline: Any, placement: Placement, device: str) -> Callable[[], Any]:
    """Bring every part to its place; returns what brings the text encoders to work, as a context."""
    text, denoisers, rest = _parts(pipeline)
    staying = [*rest, *(denoisers if placement.denoiser == "stays" else [])]
    if placement.denoiser == "streams":
        _stream(denoisers, device)
    if placement.text == "streams":
        _stream(text, device)
    _move([*staying, *(text if placement.text == "stays" else [])], device)

    @contextmanager
    def at_work() -> Iterator[None]:
        if placement.text != "shifts":
            yield
            return
        try:
            _move(staying, "cpu")
            _move(text, device)
            yield
        finally:
            _move(text, "cpu")
            _move(staying, device)

    return at_work


def fitting_batch(peak: Callable[[int], int], room: int, pixels: int) -> int:
    """The largest power of two of images that fits and is worth while.

    Args:
        peak: draws so many images together and says how many bytes were in use at most.
        room: bytes that may be in use.
        pixels: of one image.
    """
    one = peak(1)
    each = max(1, peak(2) - one)
    most = min(_MOST_IMAGES, max(1, _MOST_PIXELS // pixels), 1 + max(0, int(_USED * room) - one) // each)
    return 1 << (most.bit_length() - 1)


def measured_peak(draw: Callable[[], Any], device: str) -> int:
    """The bytes in use on a CUDA device while something is drawn, weights included."""
    torch = require("torch", EXTRA)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    draw()
    return int(torch.cuda.max_memory_allocated(device))


def usable_bytes(device: str) -> int:
    """What this process has of a CUDA device and could still get."""
    torch = require("torch", EXTRA)
    return free_bytes(device) + int(torch.cuda.memory_allocated(device))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory is short."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS)


def release() -> None:
    """Give back what failed work left behind."""
    torch = require("torch", EXTRA)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def denoiser_of(pipeline: Any) -> Any:
    """The part that works at every step.

    Raises:
        ValueError: the pipeline calls it something unheard of.
    """
    _, denoisers, _ = _parts(pipeline)
    if not denoisers:
        raise ValueError(f"{type(pipeline).__name__} has neither a transformer nor a unet to change")
    return denoisers[0]


def _parts(pipeline: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """Text encoders, denoisers, and the other modules."""
    torch = require("torch", EXTRA)
    modules = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    text = [name for name in modules if name.startswith("text_encoder")]
    denoisers = [name for name in modules if name.startswith(("transformer", "unet"))]
    others = [name for name in modules if name not in (*text, *denoisers)]
    some, more, rest = ([modules[name] for name in names] for names in (text, denoisers, others))
    return some, more, rest


def _weights(module: Any) -> int:
    return sum(map(_bytes, [*module.parameters(), *module.buffers()]))


def _bytes(tensor: Any) -> int:
    if not hasattr(tensor, "__tensor_flatten__"):
        return int(tensor.numel() * tensor.element_size())
    # A tensor that wraps others, as quantised ones do, passes itself off as what it stands for.
    return sum(_bytes(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])


def _move(modules: list[Any], device: str) -> None:
    for module in modules:
        module.to(device)
    if device == "cpu":
        release()


def _stream(modules: list[Any], device: str) -> None:
    hooks = require("diffusers.hooks", EXTRA)
    for module in modules:
        hooks.apply_group_offloading(
            module, onload_device=device, offload_type="leaf_level", use_stream=device.startswith("cuda")
        )
