"""What pixels depend on besides the order and the settings of a recipe, in words that stay with each image."""

from __future__ import annotations

from functools import cache

from mis_dataset.backends import require
from mis_dataset.render._speed import EXTRA, FAST_EXTRA


@cache
def made_with(device: str, *, compiled: bool, quantise: str | None, skip_below: float | None, tiled: bool) -> str:
    """The processor, the versions of the libraries, and whatever was done for speed or memory, joined by semicolons."""
    torch = require("torch", EXTRA)
    if device.startswith("cuda"):
        processor = torch.cuda.get_device_name(device)
    else:
        processor = f"cpu with {torch.backends.cpu.get_cpu_capability()}" if device == "cpu" else device
    libraries = dict.fromkeys(("torch", "diffusers", "transformers"), EXTRA)
    libraries |= {"torchao": FAST_EXTRA} if quantise else {}
    libraries |= {"cache_dit": FAST_EXTRA} if skip_below is not None else {}
    versions = ", ".join(f"{name} {require(name, extra).__version__}" for name, extra in libraries.items())
    done = [
        "blocks compiled" if compiled else "",
        f"{quantise} numbers" if quantise else "",
        f"steps skipped below {skip_below:g}" if skip_below is not None else "",
        "decoded in tiles" if tiled else "",
    ]
    return "; ".join(filter(None, [processor, versions, *done]))
