"""What makes a pipeline faster and changes its pixels: compiled blocks, small numbers, skipped steps."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from typing import Any, Literal

from mis_dataset.backends import require
from mis_dataset.errors import RenderError

EXTRA = "diffusion"
FAST_EXTRA = "diffusion-fast"
Numbers = Literal["float8", "int8"]
_FEW_ROWS = ("norm", "time_", "embed", "adaln", "_mod.", "modulation")
"""In the names of linear layers that see one row an image, not one a patch."""


_WARM_UP = 8
"""Steps that cache-dit never skips, where there are so many."""


def check_extras(*, quantises: bool, skips: bool) -> None:
    """See that what speeds a pipeline up is installed, without importing it.

    Raises:
        BackendError: names the extra.
    """
    for module, is_wanted in (("torchao", quantises), ("cache_dit", skips)):
        if is_wanted and importlib.util.find_spec(module) is None:
            require(module, FAST_EXTRA)


def check_skips(index: Mapping[str, Any], steps: int | None) -> None:
    """See that a pipeline has steps that can be skipped, from its ``model_index.json``.

    Raises:
        RenderError: its denoiser is a UNet, or there is but one step.
    """
    if "unet" in index:
        raise RenderError(
            f"skip_below is for models whose denoiser is a transformer, such as Stable Diffusion 3 and FLUX, but a "
            f"{index['_class_name']} has a UNet; leave skip_below out"
        )
    if steps == 1:
        raise RenderError("skip_below has nothing to skip in 1 step; leave it out")


def can_compile(device: str) -> bool:
    """Whether compiling is worth while and possible: a GPU, Triton, and a C compiler for what it writes."""
    has_compiler = any(map(shutil.which, ("cc", "gcc", "clang")))
    return device.startswith("cuda") and importlib.util.find_spec("triton") is not None and has_compiler


def compile_blocks(denoiser: Any) -> None:
    """Compile the block of which a denoiser has many: most of the gain of compiling all, in a fraction of the time.

    ``diffusers`` calls this regional compilation. A class that does not name its repeated blocks, as that of Stable
    Diffusion 3, is given the class of its longest list of modules.

    Raises:
        ValueError: it has none.
    """
    if not getattr(denoiser, "_repeated_blocks", None):
        denoiser._repeated_blocks = [type(_blocks(denoiser)[0]).__name__]
    # The blocks of a UNet come in several shapes, of which each is worth code of its own.
    denoiser.compile_repeated_blocks(dynamic=False)


def undo_compilation(pipeline: Any) -> None:
    """Have all blocks of a pipeline work as they did before they were compiled."""
    torch = require("torch", EXTRA)
    for part in pipeline.components.values():
        for module in part.modules() if isinstance(part, torch.nn.Module) else ():
            module._compiled_call_impl = None


def quantise(denoiser: Any, numbers: Numbers) -> None:
    """Have a denoiser's linear layers reckon with numbers of 8 bits (torchao, scaled as they come).

    Raises:
        RenderError: the device has no such numbers.
        BackendError: torchao is not installed.
    """
    torch = require("torch", EXTRA)
    torchao = require("torchao.quantization", FAST_EXTRA)
    if numbers == "float8" and not (torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 9)):
        raise RenderError(
            "quantise = 'float8' wants an NVIDIA GPU of compute capability 8.9 or more (Ada, Hopper and later); "
            "set quantise = 'int8' or leave it out"
        )
    config = {
        "float8": torchao.Float8DynamicActivationFloat8WeightConfig,
        "int8": torchao.Int8DynamicActivationInt8WeightConfig,
    }[numbers]
    torchao.quantize_(denoiser, config(), filter_fn=is_fit)


def is_fit(module: Any, name: str) -> bool:
    """Whether a part of a denoiser is a linear layer that a GPU can multiply in 8 bits.

    It takes multiples of 16 only and, of int8, more than 16 rows.
    """
    if not isinstance(module, require("torch", EXTRA).nn.Linear) or any(sign in name.lower() for sign in _FEW_ROWS):
        return False
    return not (module.in_features % 16 or module.out_features % 16)


def skip_steps(pipeline: Any, denoiser: Any, threshold: float, steps: int | None) -> None:
    """Reuse a step's result where its first blocks hardly change it (cache-dit's DBCache).

    It decides for a whole batch at once, so the caller draws one image at a time. Of few steps, the first half is never
    skipped, and of many the first eight.

    Raises:
        BackendError: cache-dit is not installed.
        RenderError: cache-dit does not know the pipeline, or there is nothing to skip.
        ValueError: the denoiser has no repeated blocks.
    """
    check_skips({**pipeline.config, "_class_name": type(pipeline).__name__}, steps)
    # Read when it is imported; what it tells of each pipeline would come between the notes of a build.
    os.environ.setdefault("CACHE_DIT_LOG_LEVEL", "error")
    cache_dit = require("cache_dit", FAST_EXTRA)
    if not cache_dit.BlockAdapterRegister.is_supported(pipeline):
        name = type(pipeline).__name__
        raise RenderError(f"cache-dit {cache_dit.__version__} does not know a {name}; leave skip_below out")
    # Its own default looks at 8 blocks, more than small models have.
    looked_at = min(8, max(1, len(_blocks(denoiser)) // 4))
    config = cache_dit.DBCacheConfig(
        Fn_compute_blocks=looked_at,
        residual_diff_threshold=threshold,
        max_warmup_steps=min(_WARM_UP, (steps or 2 * _WARM_UP) // 2),
    )
    cache_dit.enable_cache(pipeline, cache_config=config)


def _blocks(denoiser: Any) -> Any:
    """The longest list of modules at a denoiser's top: what lies deeper belongs to one block."""
    torch = require("torch", EXTRA)
    lists = [part for part in denoiser.children() if isinstance(part, torch.nn.ModuleList) and len(part)]
    if not lists:
        raise ValueError(f"{type(denoiser).__name__} has no repeated blocks; leave compiled and skip_below out")
    return max(lists, key=len)
