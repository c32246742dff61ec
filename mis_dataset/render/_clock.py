"""How long drawing will take, said as soon as it can be known."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from mis_dataset.backends import require

_LONG_S = 3600.0

_log = logging.getLogger("mis_dataset.render.diffusion")


class Clock:
    """Times the second step of the first batch, which is the first that is like the others, and says what that means.

    Where there is but one step, it times the whole call. Its ``step`` is what pipelines of ``diffusers`` take as
    ``callback_on_step_end``, and ``done`` is for when they are done.
    """

    def __init__(self, device: str, *, steps: int | None, batch: int, images: int) -> None:
        self._device, self._steps, self._batch, self._images = device, steps, batch, images
        self._called = self._begun = time.monotonic()
        self._has_told = False

    def step(self, pipeline: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Look at the clock after a step."""
        del pipeline, timestep
        if step in (0, 1):
            self._wait()
            now = time.monotonic()
            if step == 1 and self._steps:
                self._tell((now - self._begun) * self._steps / self._batch, "decoding not counted")
            self._begun = now
        return kwargs

    def done(self) -> None:
        """Look at the clock after the call."""
        if not self._has_told:
            self._wait()
            self._tell((time.monotonic() - self._called) / self._batch, "the start of the first included")

    def _wait(self) -> None:
        """A GPU lags behind the one who tells it what to do."""
        if self._device.startswith("cuda"):
            require("torch", "diffusion").cuda.synchronize(self._device)
        elif self._device == "mps":
            require("torch", "diffusion").mps.synchronize()

    def _tell(self, seconds: float, what: str) -> None:
        self._has_told = True
        # The last batch is filled up.
        whole = seconds * math.ceil(self._images / self._batch) * self._batch
        _log.log(
            logging.WARNING if whole > _LONG_S else logging.INFO,
            "about %s an image on %s, %s: %s for the %d images of this shard",
            duration(seconds),
            self._device,
            what,
            duration(whole),
            self._images,
        )


def duration(seconds: float) -> str:
    """``0.044 s``, ``4.4 s``, ``12 s``, ``3.5 min`` or ``27.0 h``."""
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
