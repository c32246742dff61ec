"""A loaded pipeline at work: orders go in, pictures come out, as many together as there is memory for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from mis_dataset.backends import require
from mis_dataset.render import DrawOrder
from mis_dataset.render._clock import Clock
from mis_dataset.render._memory import (
    denoiser_of,
    fitting_batch,
    is_out_of_memory,
    measured_peak,
    release,
    usable_bytes,
)
from mis_dataset.render._pipelines import EXTRA, FAILURES, call_defaults, first_line, steps_of
from mis_dataset.render._prompts import RememberedPrompts
from mis_dataset.render._speed import compile_blocks, undo_compilation

_log = logging.getLogger("mis_dataset.render.diffusion")


@dataclass(frozen=True)
class Proof:
    """A picture fresh from the press."""

    image: Image.Image
    """RGB."""
    spread: float
    """The largest standard deviation of a colour channel, of 255."""
    is_flagged: bool
    """Whether the model's safety checker blacked it out."""
    batch: int
    is_compiled: bool
    """Whether by compiled blocks, which shows in its last digits."""
    is_tiled: bool
    """Whether it was decoded in overlapping tiles, which shows in its pixels."""


@dataclass
class Press:
    """Draws with one pipeline; remembers what it learned about its memory."""

    pipeline: Any
    device: str
    arguments: Mapping[str, Any]
    """Of every call."""
    negative_prompt: str
    batch: int | None
    """Images drawn together; None: to be measured on the first order."""
    compiles: bool
    """Whether the denoiser's blocks are compiled once the batch is known: for other shapes they would be again."""
    prompts: RememberedPrompts | None
    may_uncompile: bool = False
    """Whether blocks that turn out not to work compiled may work as they are."""
    is_tiled: bool = False
    _defaults: dict[str, Any] = field(init=False)
    _vae: Any = field(init=False)
    _vae_dtype: Any = field(init=False)
    _is_started: bool = field(default=False, init=False)
    _has_drawn: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._defaults = call_defaults(self.pipeline)
        self._vae = getattr(self.pipeline, "vae", None)
        self._vae_dtype = getattr(self._vae, "dtype", None)

    def draw(self, orders: Sequence[DrawOrder]) -> list[Proof]:
        """Draw the first of some orders, as many as one batch holds.

        Where memory runs out, the batch is halved and tried again, and in the end decoded in tiles. Where compiled
        blocks fail at once, and nobody asked for them, they are done without.

        Raises:
            RuntimeError: torch's own, among them that memory is short for a single image.
        """
        if self.prompts:
            self.prompts.coming = [order.prompt for order in orders]
        while True:
            try:
                return self._draw(orders, self._ready(orders[0]))
            except FAILURES as error:
                if not (self._shrink() if is_out_of_memory(error) else self._uncompile(error)):
                    raise
            # Only here is the failed call's memory free to be given back: its error held on to it.
            self._recover()

    def _draw(self, orders: Sequence[DrawOrder], batch: int) -> list[Proof]:
        wanted = orders[:batch]
        clock = None if self._has_drawn else Clock(self.device, steps=self._steps, batch=batch, images=len(orders))
        timing = {"callback_on_step_end": clock.step} if clock and "callback_on_step_end" in self._defaults else {}
        # The last batch of a shard is filled up: pixels vary with a batch's size, and must not with a shard's.
        filled = [*wanted, *[wanted[-1]] * (batch - len(wanted))]
        output = self._call(filled, **timing)
        if clock:
            clock.done()
        self._has_drawn = True
        flagged = getattr(output, "nsfw_content_detected", None) or [False] * batch
        pictures = _pictures(output.images)
        return [
            Proof(image, spread, bool(black), batch, self.compiles, self.is_tiled)
            for _, (image, spread), black in zip(wanted, pictures, flagged, strict=False)
        ]

    def _call(self, orders: Sequence[DrawOrder], **more: Any) -> Any:
        torch = require("torch", EXTRA)
        if len(orders) > 1 and hasattr(self._vae, "enable_slicing"):
            # Decoding one image at a time is as fast, and takes the memory of one.
            self._vae.enable_slicing()
        arguments = {**self.arguments, "prompt": [order.prompt for order in orders], **more}
        if self.negative_prompt:
            # Some pipelines want it of the same type as the prompt.
            arguments["negative_prompt"] = [self.negative_prompt] * len(orders)
        if "output_type" in self._defaults:
            # Tensors stay on the GPU until they are bytes, a quarter of what they were.
            arguments["output_type"] = "pt"
        generators = [torch.Generator("cpu").manual_seed(order.seed) for order in orders]
        return self.pipeline(generator=generators, **arguments)

    def _ready(self, order: DrawOrder) -> int:
        """The size of a batch; before the first, find out how many images fit, then compile for that many."""
        if self.batch is None:
            self.batch = self._measured(order) if self.device.startswith("cuda") else 1
        if not self._is_started:
            self._is_started = True
            if self.compiles:
                compile_blocks(denoiser_of(self.pipeline))
        return self.batch

    @property
    def _steps(self) -> int | None:
        return steps_of(self.pipeline, self.arguments)

    def _measured(self, order: DrawOrder) -> int:
        steps = min(2, self._steps or 2)
        room = usable_bytes(self.device)

        def draw(images: int) -> Image.Image:
            return _pictures(self._call([order] * images, num_inference_steps=steps).images)[0][0]

        def peak(images: int) -> int:
            try:
                return measured_peak(lambda: draw(images), self.device)
            except RuntimeError as error:
                if images == 1 or not is_out_of_memory(error):
                    raise
            self._recover()
            return room

        width, height = draw(1).size
        batch = fitting_batch(peak, room, width * height)
        _log.info("drawing %d together on %s, which its memory holds", batch, self.device)
        return batch

    def _shrink(self) -> bool:
        """Ask for less memory from here on; False if there is nothing left to try."""
        if self.batch and self.batch > 1:
            self.batch //= 2
            _log.warning("memory ran out on %s: drawing %d together from here on", self.device, self.batch)
            return True
        if self.is_tiled or not hasattr(self._vae, "enable_tiling"):
            return False
        self._vae.enable_tiling()
        self.is_tiled = True
        _log.warning("memory ran out on %s: decoding in tiles from here on", self.device)
        return True

    def _uncompile(self, error: Exception) -> bool:
        """Do without compiled blocks if they have never worked; False if there is nothing to undo."""
        if not (self.compiles and self.may_uncompile and self._is_started) or self._has_drawn:
            return False
        undo_compilation(self.pipeline)
        self.compiles = False
        _log.warning("compiled blocks do not work on %s, drawing without: %s", self.device, first_line(error))
        return True

    def _recover(self) -> None:
        """Undo what a failed call left behind."""
        if self._vae_dtype:
            # SDXL decodes half precision in full precision, and returns to half only where that succeeds.
            self._vae.to(dtype=self._vae_dtype)
        release()


def _pictures(images: Any) -> list[tuple[Image.Image, float]]:
    """What a pipeline gives as images, each with its spread.

    Args:
        images: a tensor of shape (images, 3, height, width) with values from 0 to 1, or images of Pillow.
    """
    torch = require("torch", EXTRA)
    if not isinstance(images, torch.Tensor):
        pictures = [image.convert("RGB") for image in images]
        return [(image, float(np.asarray(image, dtype=np.float32).std(axis=(0, 1)).max())) for image in pictures]
    # As diffusers does it on the CPU, to the last bit.
    small = images.float().mul(255).round().to(torch.uint8)
    spreads = small.float().std(dim=(2, 3), correction=0).amax(dim=1).tolist()
    flat = small.permute(0, 2, 3, 1).contiguous()
    host = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=flat.is_cuda)
    host.copy_(flat)
    return [(Image.fromarray(array), spread) for array, spread in zip(host.numpy(), spreads, strict=True)]
