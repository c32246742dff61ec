"""Draw with a text-to-image model that ``diffusers`` loads: Stable Diffusion 1 to 3.5, SDXL, SD-Turbo, FLUX …"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from mis_dataset.errors import BackendError, RenderError
from mis_dataset.options import local_path, option
from mis_dataset.records import Rejected
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.render._doubt import Doubt
from mis_dataset.render._few_steps import few_steps
from mis_dataset.render._made_with import made_with
from mis_dataset.render._memory import (
    GIB,
    WHOLE,
    Placement,
    choose_placement,
    denoiser_of,
    free_bytes,
    measured_sizes,
    place,
)
from mis_dataset.render._pipelines import (
    EXTRA,
    call_defaults,
    change_scheduler,
    check_call,
    failures_told,
    fetch,
    load,
    native_pixels,
    pick_device,
    pick_dtype,
    quiet,
    reads_whole,
    steps_of,
)
from mis_dataset.render._press import Press, Proof
from mis_dataset.render._prompts import RememberedPrompts
from mis_dataset.render._speed import can_compile, check_extras, check_skips, quantise, skip_steps
from mis_dataset.render._weights import check_folder, folder_digest, read_index

_BLANK_SPREAD = 2.0
"""A picture whose colour channels all have a smaller standard deviation (of 255) shows nothing."""

_SHOWN = 80
"""Letters of a prompt that a note shows."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DiffusionRenderer:
    """Draws each image from a random generator of its own, seeded by its order.

    The starting noise is drawn on the CPU, so it is the same on every device. With ``batch_size`` 1 the pixels
    depend on prompt, seed and settings alone; in larger batches also, slightly, on how many are drawn together. A
    safety checker that comes with the model stays on. The model is loaded when the first image is drawn.

    On a GPU, as many images are drawn together as its memory holds, the blocks of the denoiser are compiled, and the
    parts of the model lie where they fit; what was chosen is logged. Nothing else that changes pixels is done unasked.

    Raises:
        RenderError: a local folder that is not a complete pipeline with safetensors weights of the variant.
        BackendError: a Hub model without a pinned commit, a width without a height, or an extra that is not installed.
    """

    version: ClassVar[int] = 2
    wants_gpu: ClassVar[bool] = True
    extra: ClassVar[str] = EXTRA
    imports: ClassVar[tuple[str, ...]] = ("torch", "diffusers", "transformers")

    model: str = option(doc="A folder that holds a diffusers pipeline, or a Hub id such as 'owner/name'.", path=True)
    revision: str | None = option(
        None, "The commit of a Hub model, 40 hexadecimal digits; a local folder needs none and is known by its content."
    )
    variant: str | None = option(
        None, "Which weight files to load where there are several, such as 'fp16'.", minLength=1
    )
    steps: int | None = option(
        None, "Denoising steps; left out: the pipeline's default, 4 for turbo models.", minimum=1, maximum=1000
    )
    guidance: float | None = option(
        None, "Guidance scale; left out: the pipeline's default, 0 for turbo models.", minimum=0, maximum=100
    )
    negative_prompt: str = option("", "What no image should show; empty: none.")
    width: int | None = option(
        None, "Pixels; left out with height: the model's own size.", minimum=64, maximum=4096, multipleOf=8
    )
    height: int | None = option(
        None, "Pixels; left out with width: the model's own size.", minimum=64, maximum=4096, multipleOf=8
    )
    scheduler: str | None = option(
        None, "The diffusers class of another scheduler, such as 'EulerDiscreteScheduler'; left out: the model's own."
    )
    batch_size: int | None = option(
        None,
        "Images drawn together, on which pixels may depend; left out: as many as a GPU's memory holds, elsewhere 1.",
        minimum=1,
        maximum=256,
    )
    device: str = option(
        "auto",
        "'cuda', 'cuda:1', 'mps' or 'cpu'; 'auto' takes the best there is.",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = option(
        "auto", "Number format; 'auto': float32 on a CPU, else bfloat16, or float16 where the device lacks it."
    )
    offload: bool | None = option(
        None,
        "Keep only the parts at work in the GPU's memory, or (false) all; left out: all if they fit.",
        tuning=True,
    )
    compiled: bool | None = option(
        None, "Compile the denoiser's blocks: a minute's wait, then faster; left out: on a GPU that can."
    )
    quantise: Literal["float8", "int8"] | None = option(
        None, "Reckon in 8 bits: faster, less memory, other pixels; left out: no. Needs the extra 'diffusion-fast'."
    )
    skip_below: float | None = option(
        None,
        "Skip a step's later blocks where the first change less than this share, such as 0.08: faster, other pixels, "
        "one image at a time; left out: no. Needs the extra 'diffusion-fast'.",
        exclusiveMinimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        if (self.width is None) != (self.height is None):
            raise BackendError("width and height go together, because some models ignore one of them alone; set both")
        if self.skip_below is not None and self.batch_size not in (None, 1):
            raise BackendError(
                f"skip_below decides for a whole batch at once, so that one image would change another, but batch_size "
                f"is {self.batch_size}; leave one of them out"
            )
        check_extras(quantises=self.quantise is not None, skips=self.skip_below is not None)
        if self._folder:
            check_folder(self._folder, self.variant)
            if self.skip_below is not None:
                check_skips(read_index(self._folder), self.steps)
        elif not re.fullmatch(r"[\w.-]+/[\w.-]+", self.model) or self.model.startswith("."):
            raise RenderError(
                f"there is no folder {self.model}; name one that holds a diffusers pipeline (not a single checkpoint "
                "file), or a Hub id"
            )
        elif not re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
            given = f"{self.revision!r} is none" if self.revision else "there is no revision"
            raise BackendError(
                f"{self.model} is no folder here, and a Hub model must be pinned to a commit, but {given}; set "
                f"revision to the 40 digits that https://huggingface.co/{self.model}/commits/main shows, or that "
                f"'hf models info {self.model}' prints as sha"
            )

    @cached_property
    def model_identity(self) -> Mapping[str, str]:
        """What tells this model's weights from any other's: the commit, or the digest of the folder."""
        return {"revision": f"digest:{folder_digest(self._folder)}" if self._folder else str(self.revision)}

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing | Rejected]:
        """Yield one result per order, in order; a uniform or blacked-out picture is `Rejected` as ``blank``.

        Raises:
            RenderError: the model cannot be loaded, does not take the settings, does not fit into memory, or has drawn
                nothing but blank pictures.
            BackendError: the extra ``diffusion`` is not installed.
        """
        with quiet():
            self._tell_cut_prompts(orders)
        done = 0
        remedy = "The model does not take these settings; change width, height, steps, scheduler or dtype."
        if self.compiled:
            remedy += " If it is the compiler that fails, leave compiled out."
        while done < len(orders):
            with quiet(), failures_told(f"{self.model} cannot draw on {self._device}", remedy):
                proofs = self._press.draw(orders[done:])
            done += len(proofs)
            for proof in proofs:
                yield self._doubt.look(self._result(proof))

    @cached_property
    def _doubt(self) -> Doubt:
        return Doubt(self.model)

    def _result(self, proof: Proof) -> Drawing | Rejected:
        if proof.is_flagged:
            return Rejected(
                "blank",
                "the model's safety checker blacked it out; if it does so to all, take another model or prompts",
            )
        if self.width and proof.image.size != (self.width, self.height):
            given = f"{proof.image.width} x {proof.image.height}"
            raise RenderError(f"{self.model} rounds {self.width} x {self.height} pixels to {given}; ask for those")
        if proof.spread < _BLANK_SPREAD:
            return Rejected(
                "blank",
                f"the picture is one flat colour (spread {proof.spread:.1f} of 255); if all are, {self._dtype} numbers "
                "overflow in this model: set dtype to 'bfloat16' or 'float32'",
            )
        used = call_defaults(self._pipeline) | self._arguments
        return Drawing(
            image=proof.image,
            # The path of a folder says something about a machine, its name and digest about the model.
            model=self._folder.resolve().name if self._folder else self.model,
            revision=self.model_identity["revision"],
            negative_prompt=self.negative_prompt,
            steps=used.get("num_inference_steps"),
            guidance=used.get("guidance_scale"),
            scheduler=type(self._pipeline.scheduler).__name__,
            device=self._device,
            dtype=self._dtype,
            batch=proof.batch,
            made_with=self._made_with(is_compiled=proof.is_compiled, is_tiled=proof.is_tiled),
        )

    def _tell_cut_prompts(self, orders: Sequence[DrawOrder]) -> None:
        if self._cut:
            return
        cut = [order.prompt for order in orders if not reads_whole(self._pipeline, order.prompt)]
        self._cut.extend(cut)
        if cut:
            told = cut[0] if len(cut[0]) <= _SHOWN else f"{cut[0][:_SHOWN]}…"
            _log.warning(
                "%s reads only the beginning of %d of %d prompts, such as %r; this is said once",
                self.model,
                len(cut),
                len(orders),
                told,
            )

    @cached_property
    def _cut(self) -> list[str]:
        """Prompts that were told of; redraws and later shards are not, again."""
        return []

    @cached_property
    def _press(self) -> Press:
        """The pipeline where it works, and what it needs to work well."""
        pipeline, prompts = self._pipeline, None
        remedy = "Leave out quantise, skip_below, compiled and offload to draw as the model's authors do."
        with failures_told(f"{self.model} cannot be set up on {self._device}", remedy):
            if self.quantise:
                quantise(denoiser_of(pipeline), self.quantise)
            placement = self._placement(pipeline)
            at_work = place(pipeline, placement, self._device)
            if hasattr(pipeline, "encode_prompt"):
                prompts = RememberedPrompts(pipeline.encode_prompt, at_work, looks_ahead=placement.text != "stays")
                pipeline.encode_prompt = prompts
            if self.skip_below is not None:
                steps = steps_of(pipeline, self._arguments)
                skip_steps(pipeline, denoiser_of(pipeline), self.skip_below, steps)
        press = Press(
            pipeline=pipeline,
            device=self._device,
            arguments={name: value for name, value in self._arguments.items() if name != "negative_prompt"},
            negative_prompt=self.negative_prompt,
            batch=1 if self.skip_below is not None else self.batch_size,
            # What comes layer by layer would be compiled around the coming and going.
            compiles=self._is_compiled and placement.denoiser == "stays",
            prompts=prompts,
            may_uncompile=self.compiled is None,
        )
        made = self._made_with(is_compiled=press.compiles, is_tiled=press.is_tiled)
        _log.info("%s draws in %s on %s", self.model, self._dtype, made)
        return press

    def _made_with(self, *, is_compiled: bool, is_tiled: bool) -> str:
        return made_with(
            self._device,
            compiled=is_compiled,
            quantise=self.quantise,
            skip_below=self.skip_below,
            tiled=is_tiled,
        )

    def _placement(self, pipeline: Any) -> Placement:
        if not self._device.startswith("cuda"):
            # There is no other memory to move to; what was asked for is done all the same.
            return Placement("shifts", "stays") if self.offload else WHOLE
        free, sizes = free_bytes(self._device), measured_sizes(pipeline)
        pixels = self.width * self.height if self.width and self.height else native_pixels(pipeline)
        placement = choose_placement(sizes, free, pixels, offload=self.offload)
        _log.info(
            "%s takes %.1f GiB, and %.1f are free on %s: %s",
            self.model,
            (sizes.text + sizes.denoiser + sizes.rest) / GIB,
            free / GIB,
            self._device,
            placement,
        )
        return placement

    @cached_property
    def _pipeline(self) -> Any:
        folder = self._folder or fetch(self.model, str(self.revision), self.variant)
        pipeline = load(folder, dtype=self._dtype, variant=self.variant)
        if self.scheduler:
            change_scheduler(pipeline, self.scheduler)
        check_call(pipeline, self._arguments)
        return pipeline

    @cached_property
    def _arguments(self) -> dict[str, Any]:
        """What the settings, or a model of few steps, say of a call; what is left out is the pipeline's to choose."""
        settings = {
            "negative_prompt": self.negative_prompt or None,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "width": self.width,
            "height": self.height,
        }
        return few_steps(self._names) | {name: value for name, value in settings.items() if value is not None}

    @property
    def _names(self) -> list[str]:
        """What the model is called here, and what its folder says that it was saved from."""
        if not self._folder:
            return [self.model]
        return [self._folder.resolve().name, str(read_index(self._folder).get("_name_or_path", ""))]

    @cached_property
    def _is_compiled(self) -> bool:
        if self.compiled is None:
            # Blocks of which some are skipped are compiled only where someone wants to find out.
            return self.skip_below is None and can_compile(self._device)
        return self.compiled

    @cached_property
    def _folder(self) -> Path | None:
        folder = local_path(self.model)
        return folder if folder.is_dir() else None

    @cached_property
    def _device(self) -> str:
        return pick_device(self.device)

    @cached_property
    def _dtype(self) -> str:
        return pick_dtype(self.dtype, self._device)
