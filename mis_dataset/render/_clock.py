"""How long drawing will take, said as soon as it can be known."""

from __future__ import annotations

import logging
import time
from typing import Any

from mis_dataset.backends import require

_LONG_S = 3600.0

_log = logging.getLogger("mis_dataset.render.diffusion")


class Clock:
    """Times the second step of the first batch, which is the first that is like the others, and says what that means.

    Its ``step`` is what pipelines of ``diffusers`` take as ``callback_on_step_end``.
    """

    def __init__(self, *, device: str, steps: int | None, batch: int, images: int) -> None:
        self._device, self._steps, self._batch, self._images = device, steps, batch, images
        self._begun = 0.0

    def step(self, pipeline: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Look at the clock after a step."""
        del pipeline, timestep
        if step in (0, 1):
            self._wait()
            now = time.monotonic()
            if step == 1 and self._steps:
                self._tell((now - self._begun) * self._steps / self._batch)
            self._begun = now
        return kwargs

    def _wait(self) -> None:
        """A GPU lags behind the one who tells it what to do."""
        if self._device.startswith("cuda"):
            require("torch", "diffusion").cuda.synchronize(self._device)
        elif self._device == "mps":
            require("torch", "diffusion").mps.synchronize()

    def _tell(self, seconds: float) -> None:
        whole = seconds * self._images
        _log.log(
            logging.WARNING if whole > _LONG_S else logging.INFO,
            "about %s an image on %s, decoding not counted: %s for the %d images to draw now",
            duration(seconds),
            self._device,
            duration(whole),
            self._images,
        )


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3.5 min`` or ``27.0 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
