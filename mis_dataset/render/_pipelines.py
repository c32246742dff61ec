"""The pipelines of ``diffusers``: how each is loaded, what its call takes, and how either fails."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from mis_dataset.backends import require
from mis_dataset.errors import RenderError
from mis_dataset.render._memory import is_out_of_memory
from mis_dataset.render._weights import check_folder, read_index

EXTRA = "diffusion"
_FROM_TEXT = {"prompt", "generator", "height", "width"}
_FROM_MORE_THAN_TEXT = {"strength", "control_image", "num_frames"}
_CHATTY = ("torchao", "torch.utils._pytree")
"""Loggers of what diffusers imports where it is installed: they tell of kernels that no one asked for."""
FAILURES = (AssertionError, ImportError, MemoryError, OSError, RuntimeError, SubprocessError, TypeError, ValueError)
"""What torch, diffusers and what they bring along raise; torchao asserts, Triton calls compilers."""


def pick_device(device: str) -> str:
    """The device to draw on; ``auto`` takes the best that is there.

    Raises:
        RenderError: the device asked for is not there.
    """
    torch = require("torch", EXTRA)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, found in there.items() if found)
    if not there[device.partition(":")[0]]:
        found = ", ".join(name for name, found in there.items() if found)
        raise RenderError(
            f"device = {device!r}, but PyTorch {torch.__version__} finds only: {found}; set device = 'auto'"
        )
    return device


def pick_dtype(dtype: str, device: str) -> str:
    """The number format; ``auto`` means float32 on a CPU, and half precision elsewhere."""
    if dtype != "auto":
        return dtype
    if device == "cpu":
        return "float32"
    # float16 overflows in some models (black images), so bfloat16 comes first where the GPU has it.
    torch = require("torch", EXTRA)
    return "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float16"


def fetch(model: str, revision: str, variant: str | None) -> Path:
    """The folder of a Hub model at a commit, downloaded where it is not in the cache yet.

    Raises:
        RenderError: no network, no such model or commit, no access, or no safetensors files.
    """
    diffusers = require("diffusers", EXTRA)
    # Where a connection breaks off, the Hub's client passes on the plain error of the HTTP library below it.
    http_error = require("huggingface_hub.errors", EXTRA).HTTPError
    try:
        folder = diffusers.DiffusionPipeline.download(
            model, revision=revision, variant=variant, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, http_error) as error:
        raise RenderError(
            f"cannot download {model} at {revision}: {first_line(error.__cause__ or error)}\n"
            f"Check both on https://huggingface.co/{model}; if the model is gated, accept its licence there and log in "
            f"with 'hf auth login'. Without a network, fetch it elsewhere with 'hf download {model} --revision "
            f"{revision} --local-dir FOLDER' and set model = 'FOLDER', or say --model FOLDER to mis verify."
        ) from error
    return Path(folder)


def load(folder: Path, *, dtype: str, variant: str | None) -> Any:
    """A text-to-image pipeline, in the CPU's memory.

    Raises:
        RenderError: files are missing or damaged, the class is unknown or needs more than text, or memory is short.
    """
    diffusers, torch = require("diffusers", EXTRA), require("torch", EXTRA)
    check_folder(folder, variant)
    index = read_index(folder)
    name = index["_class_name"]
    pipeline_class = getattr(diffusers, name, None) if isinstance(name, str) else None
    if pipeline_class is None:
        raise RenderError(
            f"diffusers {diffusers.__version__} has no pipeline class {name!r}, which {folder} asks for; it was saved "
            f"with diffusers {index.get('_diffusers_version', '(unknown)')}, and code of its own is not run"
        )
    remedy = (
        f"Download it again if it is incomplete or damaged, and check that diffusers {diffusers.__version__} reads it."
    )
    with failures_told(f"cannot load {folder}", remedy), without_bars():
        pipeline = pipeline_class.from_pretrained(
            folder, dtype=getattr(torch, dtype), variant=variant, use_safetensors=True
        )
        pipeline.set_progress_bar_config(disable=True)
    takes = inspect.signature(pipeline.__call__).parameters.keys()
    if not takes >= _FROM_TEXT or takes & _FROM_MORE_THAN_TEXT:
        raise RenderError(
            f"{folder} is a {name}, which does not draw images from text alone; name a text-to-image model"
        )
    return pipeline


def change_scheduler(pipeline: Any, name: str) -> None:
    """Replace the scheduler by another of the same kind, with the model's own configuration.

    Raises:
        RenderError: there is no such scheduler, or it belongs to another kind of model and would draw noise.
    """
    current = pipeline.scheduler
    fitting = {cls.__name__: cls for cls in current.compatibles}
    if type(current).__name__.startswith("FlowMatch"):
        # These list no companions, but share their configuration.
        diffusers = require("diffusers", EXTRA)
        fitting |= {other: getattr(diffusers, other) for other in dir(diffusers) if other.startswith("FlowMatch")}
    if name not in fitting:
        raise RenderError(
            f"scheduler = {name!r} does not fit a {type(pipeline).__name__} made for {type(current).__name__}; "
            f"these do: {', '.join(sorted(fitting))}"
        )
    with failures_told(f"cannot set up scheduler = {name!r}", "Leave scheduler out to use the model's own."):
        pipeline.scheduler = fitting[name].from_config(current.config)


def native_pixels(pipeline: Any) -> int:
    """How many pixels a model's images have where no size is asked for; a megapixel if it does not say."""
    side = getattr(pipeline, "default_sample_size", None)
    scale = getattr(pipeline, "vae_scale_factor", None)
    return (side * scale) ** 2 if isinstance(side, int) and isinstance(scale, int) else 2**20


def call_defaults(pipeline: Any) -> dict[str, Any]:
    """What the pipeline's call takes, with the value of each argument that is left out."""
    return {name: parameter.default for name, parameter in inspect.signature(pipeline.__call__).parameters.items()}


def steps_of(pipeline: Any, arguments: Mapping[str, Any]) -> int | None:
    """In how many steps a call with some arguments draws; None if the pipeline does not say."""
    steps: int | None = (call_defaults(pipeline) | dict(arguments)).get("num_inference_steps")
    return steps


def check_call(pipeline: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse what the pipeline would not take, or would take and ignore.

    Raises:
        RenderError: names the argument and the pipeline's class.
    """
    cls, defaults = type(pipeline).__name__, call_defaults(pipeline)
    if unknown := [name for name in arguments if name not in defaults]:
        raise RenderError(f"{cls} takes no {' and no '.join(unknown)}; leave the setting out")
    # The pipeline looks at a negative prompt only where it guides by the difference between two predictions.
    strength = "true_cfg_scale" if "true_cfg_scale" in defaults else "guidance_scale"
    value = (defaults | dict(arguments)).get(strength)
    if "negative_prompt" in arguments and value is not None and value <= 1:
        raise RenderError(f"{cls} ignores negative_prompt while {strength} is {value}; leave negative_prompt out")


def reads_whole(pipeline: Any, prompt: str) -> bool:
    """Whether some text encoder of the pipeline reads the prompt to its end (CLIP reads 77 tokens, T5 256 or more)."""
    parts = [part for name, part in pipeline.components.items() if name.startswith("tokenizer")]
    tokenizers = [part for part in parts if hasattr(part, "model_max_length")]
    longest = call_defaults(pipeline).get("max_sequence_length") or math.inf
    return not tokenizers or any(
        len(tokenizer(prompt, verbose=False).input_ids) <= min(tokenizer.model_max_length, longest)
        for tokenizer in tokenizers
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what the libraries log when they are imported, load a pipeline or draw.

    The renderer itself tells of cut prompts and blackened images.
    """
    with ExitStack() as ending:
        for name in _CHATTY:
            logger = logging.getLogger(name)
            ending.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        for library in ("diffusers", "transformers"):
            verbosity = require(f"{library}.utils.logging", EXTRA)
            ending.callback(verbosity.set_verbosity, verbosity.get_verbosity())
            verbosity.set_verbosity_error()
        yield


@contextmanager
def without_bars() -> Iterator[None]:
    """Show no progress bars of the libraries: the build has its own."""
    loggers = [require(f"{library}.utils.logging", EXTRA) for library in ("diffusers", "transformers")]
    shown = [logger.is_progress_bar_enabled() for logger in loggers]
    for logger in loggers:
        logger.disable_progress_bar()
    try:
        yield
    finally:
        for logger, was_shown in zip(loggers, shown, strict=True):
            if was_shown:
                logger.enable_progress_bar()


@contextmanager
def failures_told(what: str, remedy: str) -> Iterator[None]:
    """Turn what torch and diffusers raise into one error that says what failed, why, and what helps."""
    broken_file = require("safetensors", EXTRA).SafetensorError
    try:
        yield
    except (*FAILURES, broken_file) as error:
        if is_out_of_memory(error):
            remedy = (
                "Memory is short: set offload = true, lower batch_size, width and height, choose dtype = 'bfloat16', "
                "or take a smaller model."
            )
        raise RenderError(f"{what}: {first_line(error)}\n{remedy}") from error


def first_line(error: BaseException) -> str:
    """What an error says, in short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
