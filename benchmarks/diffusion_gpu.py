"""Real sizes on a GPU: random weights and random embeddings, for what weights say does not change how fast they are."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import io
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mis_dataset.records import ImageSpec
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.render._memory import GIB, release
from mis_dataset.render._pipelines import FAILURES, first_line
from mis_dataset.render._press import Press
from mis_dataset.render._prompts import RememberedPrompts
from mis_dataset.render._speed import can_compile
from mis_dataset.run.draw import Artist
from mis_dataset.run.images import ImageStore

NOT_MEASURED = "not measured"
_COLUMNS = (
    "model",
    "naive img/s",
    "batched img/s",
    "ours img/s",
    "batch",
    "compiled",
    "ours ÷ naive (bar ≥ 1.6)",
    "FLOP/s ÷ matmul's (bar ≥ 0.60 for Large)",
    "GPU idle between batches (bar ≤ 2 %)",
    "peak memory",
)


@dataclass(frozen=True)
class Size:
    """A model as its authors configured it."""

    name: str
    is_sd3: bool
    steps: int
    guidance: float
    side: int
    """Pixels."""
    tokens: int
    """Of a prompt's embeddings."""
    width: int
    """Of a token."""
    pooled: int
    denoiser: dict[str, Any]
    vae: dict[str, Any]


_SD3 = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "attention_head_dim": 64,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 2048,
    "qk_norm": "rms_norm",
}
_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 1024,
}
_SD3_VAE = {
    **_VAE,
    "latent_channels": 16,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
SIZES = (
    Size(
        "SD3.5-Large",
        is_sd3=True,
        steps=28,
        guidance=7.0,
        side=1024,
        tokens=333,
        width=4096,
        pooled=2048,
        denoiser={
            **_SD3,
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
        },
        vae=_SD3_VAE,
    ),
    Size(
        "SD3.5-Medium",
        is_sd3=True,
        steps=28,
        guidance=7.0,
        side=1024,
        tokens=333,
        width=4096,
        pooled=2048,
        denoiser={
            **_SD3,
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 384,
            "dual_attention_layers": tuple(range(13)),
        },
        vae=_SD3_VAE,
    ),
    Size(
        "SDXL",
        is_sd3=False,
        steps=50,
        guidance=5.0,
        side=1024,
        tokens=77,
        width=2048,
        pooled=1280,
        denoiser={
            "sample_size": 128,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        vae={**_VAE, "latent_channels": 4, "scaling_factor": 0.13025},
    ),
)


def shrunk(size: Size) -> Size:
    """The same model a few thousand times smaller, layer by layer of the same kinds."""
    small = {"sample_size": 8, "attention_head_dim": 8}
    if size.is_sd3:
        small |= {
            "num_layers": 2,
            "num_attention_heads": 2,
            "caption_projection_dim": 16,
            "joint_attention_dim": 16,
            "pooled_projection_dim": 16,
            "pos_embed_max_size": 16,
        }
        small |= {"dual_attention_layers": (0,)} if "dual_attention_layers" in size.denoiser else {}
    else:
        small |= {
            "block_out_channels": (32, 32, 32),
            "transformer_layers_per_block": 1,
            "cross_attention_dim": 16,
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 16,
        }
    vae = {**size.vae, "block_out_channels": (32,) * 4, "sample_size": 64}
    return dataclasses.replace(
        size, steps=2, side=64, tokens=4, width=16, pooled=16, denoiser={**size.denoiser, **small}, vae=vae
    )


@dataclass(frozen=True)
class Result:
    """What one model was measured to do."""

    name: str
    naive: float
    """Images a second, one prompt at a time, eager, PNG level 6 between images."""
    batched: float
    """The same in batches."""
    ours: float
    batch: int
    is_compiled: bool
    flops_share: float
    """The denoiser's operations a second, decoding and all else within the time, ÷ those of a large multiplication."""
    idle: float
    """The share of the time between the first and the last batch in which the GPU waited for the next batch."""
    peak: float
    """GiB in use at most."""

    @property
    def cells(self) -> list[str]:
        """A line of the table, without the name."""
        return [
            *(f"{rate:.3g}" for rate in (self.naive, self.batched, self.ours)),
            str(self.batch),
            "yes" if self.is_compiled else "no",
            f"{self.ours / self.naive:.2f}",
            f"{self.flops_share:.2f}",
            f"{100 * self.idle:.1f} %",
            f"{self.peak:.1f} GiB" if self.peak else NOT_MEASURED,
        ]


def gpu_table(sizes: Sequence[Size] = SIZES, *, tiny: bool = False) -> Iterator[str]:
    """The table for this machine's GPU as Markdown, each line once it is known; then the device and the versions.

    Args:
        sizes: the models; those in which something fails say what.
        tiny: draw on the CPU with tiny models. With neither this nor a GPU, every cell says "not measured".
    """
    import torch

    device = "cpu" if tiny else "cuda" if torch.cuda.is_available() else ""
    yield _line(_COLUMNS)
    yield f"| --- |{' ---: |' * (len(_COLUMNS) - 1)}"
    for size in sizes:
        cells = [NOT_MEASURED] * (len(_COLUMNS) - 1)
        try:
            if device:
                cells = measure_size(shrunk(size) if tiny else size, device).cells
        except FAILURES as error:
            cells[0] = f"failed: {type(error).__name__}: {first_line(error)}".replace("|", "/")
        yield _line([size.name, *cells])
    yield ""
    yield _machine(device)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def measure_size(size: Size, device: str) -> Result:
    """Draw with one model in three ways."""
    import torch

    # What is compiled belongs to no model: code and limits of the last one would count for this one.
    gc.collect()
    torch.compiler.reset()
    release()
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    pipeline = _pipeline(size, device, dtype)
    orders = [DrawOrder("a cup", f"cup {number}", number) for number in range(512)]
    arguments = {
        "num_inference_steps": size.steps,
        "guidance_scale": size.guidance,
        "width": size.side,
        "height": size.side,
    }
    read = _RandomEmbeddings(size, device, dtype).encode_prompt

    def press(batch: int | None, *, is_fast: bool = False) -> Press:
        pipeline.encode_prompt = prompts = RememberedPrompts(read) if is_fast else read
        compiles = is_fast and can_compile(device)
        remembered = prompts if is_fast else None
        return Press(pipeline, device, arguments, "", batch, compiles, remembered, may_uncompile=True)

    flops = _flops_an_image(press(1), size.steps, orders[0])
    # Behind the last batch nothing is drawn any more, so it takes several for its encoding to count little.
    few, many = (4, 8) if device == "cuda" else (2, 2)
    naive = _plain_rate(press(1), orders[:few])
    batched = press(None if device == "cuda" else 2)
    batched.draw(orders[:1])  # finds out how many fit
    batch = batched.batch or 1
    batched_rate = _plain_rate(batched, orders[: few // 2 * batch])
    ours = press(batch, is_fast=True)
    ours.draw(orders[:1])  # compiles
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    watch = _Watch(pipeline, device)
    rate = _our_rate(ours, orders[: many * batch])
    peak = torch.cuda.max_memory_allocated() / GIB if device == "cuda" else 0.0
    share = rate * flops / _matmul_rate(device)
    return Result(size.name, naive, batched_rate, rate, batch, ours.compiles, share, watch.idle(), peak)


@dataclass(frozen=True)
class _Pressed:
    """A renderer of orders with a press that is warm."""

    press: Press

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        """One image an order."""
        done = 0
        while done < len(orders):
            proofs = self.press.draw(orders[done:])
            done += len(proofs)
            for proof in proofs:
                yield Drawing(proof.image, model="random", revision="1", batch=proof.batch)


def _plain_rate(press: Press, orders: Sequence[DrawOrder]) -> float:
    """Images a second of the loop that everybody writes first."""
    begun = time.perf_counter()
    for drawing in _Pressed(press).render(orders):
        drawing.image.save(io.BytesIO(), "PNG", compress_level=6)
    return len(orders) / (time.perf_counter() - begun)


def _our_rate(press: Press, orders: Sequence[DrawOrder]) -> float:
    """Images a second as a build draws and keeps them."""
    wanted = {("family", number, order.object): _spec(order) for number, order in enumerate(orders)}
    with tempfile.TemporaryDirectory() as folder:
        artist = Artist(_Pressed(press), ImageStore(Path(folder)), seed=0, max_redraws=0)
        begun = time.perf_counter()
        artist.draw(wanted, lambda _: None)
        return len(orders) / (time.perf_counter() - begun)


def _spec(order: DrawOrder) -> ImageSpec:
    return ImageSpec(order.object, order.prompt, harmful=False)


class _Watch:
    """Notes when the GPU begins and ends to work on a batch: its first step, and the last of its decoding."""

    def __init__(self, pipeline: Any, device: str) -> None:
        self._is_gpu = device == "cuda"
        self._marks: list[tuple[str, Any]] = []
        denoiser = pipeline.transformer if hasattr(pipeline, "transformer") else pipeline.unet
        denoiser.register_forward_pre_hook(lambda *_: self._mark("step"))
        pipeline.vae.decoder.register_forward_hook(lambda *_: self._mark("decoded"))

    def idle(self) -> float:
        """The share of the time from the first mark to the last that lies between two batches."""
        pairs = zip(self._marks, self._marks[1:], strict=False)
        gaps = (self._between(one, other) for (kind, one), (_, other) in pairs if kind == "decoded")
        return sum(gaps) / self._between(self._marks[0][1], self._marks[-1][1])

    def _mark(self, kind: str) -> None:
        import torch

        now: Any = time.perf_counter()
        if self._is_gpu:
            now = torch.cuda.Event(enable_timing=True)
            now.record()
        if kind == "decoded" and self._marks[-1][0] == "decoded":
            self._marks.pop()
        self._marks.append((kind, now))

    def _between(self, one: Any, other: Any) -> float:
        """Seconds."""
        if not self._is_gpu:
            return float(other - one)
        other.synchronize()
        return float(one.elapsed_time(other)) / 1000


class _RandomEmbeddings:
    """Stands in for text encoders, and takes next to no time: noise that depends on the prompt, made on the device."""

    def __init__(self, size: Size, device: str, dtype: Any) -> None:
        self._size, self._device, self._dtype = size, device, dtype

    def encode_prompt(
        self, prompt: list[str], *, do_classifier_free_guidance: bool = True, **others: Any
    ) -> tuple[Any, ...]:
        """What the pipelines of Stable Diffusion 3 and SDXL expect."""
        import torch

        del others
        long, short = self._noise(prompt, self._size.tokens, self._size.width), self._noise(prompt, self._size.pooled)
        if not do_classifier_free_guidance:
            return long, None, short, None
        return long, torch.zeros_like(long), short, torch.zeros_like(short)

    def _noise(self, prompts: Sequence[str], *shape: int) -> Any:
        import torch

        seeds = (int(hashlib.sha256(prompt.encode()).hexdigest()[:8], 16) for prompt in prompts)
        chances = (torch.Generator(self._device).manual_seed(seed) for seed in seeds)
        how = {"device": self._device, "dtype": self._dtype}
        return torch.stack([torch.randn(shape, generator=chance, **how) for chance in chances])


def _pipeline(size: Size, device: str, dtype: Any) -> Any:
    """A pipeline without text encoders, its weights random."""
    import diffusers
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.manual_seed(0)
    try:
        with torch.device(device):
            denoiser, vae = denoiser_of_size(size), diffusers.AutoencoderKL(**size.vae)
    finally:
        torch.set_default_dtype(before)
    nothing: dict[str, Any] = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    if size.is_sd3:
        nothing |= {"text_encoder_3": None, "tokenizer_3": None}
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
        pipeline = diffusers.StableDiffusion3Pipeline(denoiser, scheduler, vae, **nothing)
    else:
        scheduler = diffusers.EulerDiscreteScheduler()
        pipeline = diffusers.StableDiffusionXLPipeline(vae, unet=denoiser, scheduler=scheduler, **nothing)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def denoiser_of_size(size: Size) -> Any:
    """A transformer or UNet of real or shrunk size, its weights random."""
    import diffusers

    kind = diffusers.SD3Transformer2DModel if size.is_sd3 else diffusers.UNet2DConditionModel
    return kind(**size.denoiser)


def _flops_an_image(press: Press, steps: int, order: DrawOrder) -> float:
    """The operations of all steps of the denoiser, guidance included; decoding is not counted."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    pipeline = press.pipeline
    denoiser = pipeline.transformer if hasattr(pipeline, "transformer") else pipeline.unet
    calls: list[Any] = []
    hook = denoiser.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    press.draw([order])
    hook.remove()
    args, kwargs = calls[0]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        denoiser(*args, **kwargs)
    return float(counter.get_total_flops()) * steps


def _matmul_rate(device: str) -> float:
    """The operations a second of a large square multiplication."""
    import torch

    side, dtype = (8192, torch.bfloat16) if device == "cuda" else (256, torch.float32)
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def times(count: int) -> float:
        wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
        wait()
        begun = time.perf_counter()
        for _ in range(count):
            torch.mm(one, other)
        wait()
        return time.perf_counter() - begun

    times(5)
    return 20 * 2 * side**3 / times(20)


def _machine(device: str) -> str:
    """What the figures were taken with."""
    import diffusers
    import torch

    versions = f"torch {torch.__version__}, diffusers {diffusers.__version__}, Python {platform.python_version()}"
    if device == "cuda":
        try:
            triton = f"Triton {version('triton')}"
        except PackageNotFoundError:
            triton = "no Triton"
        libraries = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, {triton}"
        return (
            f"{torch.cuda.get_device_name()}; {versions}, {libraries}; bfloat16, random weights, 1024 by 1024 pixels."
        )
    if device:
        return f"Tiny models on a CPU, which says nothing about real ones; {versions}."
    return f"No GPU was at hand; {versions}."
