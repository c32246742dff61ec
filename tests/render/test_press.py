"""The renderer at work on pipelines with real classes and tiny weights: what it saves, and what it does not change."""

from __future__ import annotations

import functools
import itertools
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mis_dataset.errors import BackendError, RenderError
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.render._memory import GIB
from mis_dataset.render._speed import compile_blocks, is_fit
from mis_dataset.render.diffusion import DiffusionRenderer

torch = pytest.importorskip("torch", reason="needs the extra 'diffusion'")
pytestmark = pytest.mark.filterwarnings(
    # The Euler scheduler of diffusers makes NumPy arrays of tensors in a way that NumPy 2 deprecates.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

Tiny = Callable[[str], Path]
ORDERS = [DrawOrder(thing, thing, seed) for seed, thing in enumerate(["a cup", "a hat", "a cup", "a key", "a hat"])]


def renderer(folder: Path, **settings: Any) -> DiffusionRenderer:
    return DiffusionRenderer(model=str(folder), **{"steps": 2, "device": "cpu", "width": 64, "height": 64} | settings)


def draw(made: DiffusionRenderer, orders: Sequence[DrawOrder] = ORDERS) -> list[Drawing]:
    return [drawing for drawing in made.render(orders) if isinstance(drawing, Drawing)]


def pixels(drawings: Sequence[Drawing]) -> list[bytes]:
    return [drawing.image.tobytes() for drawing in drawings]


def failing_once(module: Any, error: Exception) -> None:
    """Have a module fail when it is called next, and only then."""
    errors = iter([error])

    def fail(*_: Any) -> None:
        for one in errors:
            raise one

    module.register_forward_pre_hook(fail)


@contextmanager
def short_of_memory(module: Any, fits: Callable[[Any], bool]) -> Iterator[None]:
    """While a module is given more than fits, it fails as torch does on a GPU."""

    def look(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor) and value.ndim == 4]
        if not all(map(fits, given)):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    hook = module.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "flux"])
def test_images_are_those_of_the_bare_pipeline(tiny: Tiny, name: str):
    diffusers = pytest.importorskip("diffusers")
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tiny(name))
    pipeline.set_progress_bar_config(disable=True)
    negative = {} if name == "flux" else {"negative_prompt": "rain"}
    bare = [
        pipeline(
            order.prompt,
            generator=torch.Generator().manual_seed(order.seed),
            num_inference_steps=2,
            width=64,
            height=64,
            **negative,
        ).images[0]
        for order in ORDERS[:3]
    ]
    assert pixels(draw(renderer(tiny(name), **negative), ORDERS[:3])) == [image.tobytes() for image in bare]


def test_each_distinct_prompt_is_read_once_and_the_negative_prompt_once(tiny: Tiny):
    made, read = renderer(tiny("sd1")), []
    made._pipeline.text_encoder.register_forward_hook(lambda _, args, output: read.append(len(args[0])))
    draw(made)
    draw(made, ORDERS[:2])
    assert read == [1, 1, 1, 1]  # three prompts and what stands for no prompt


def test_where_memory_runs_out_the_batch_is_halved_for_good(tiny: Tiny, caplog: pytest.LogCaptureFixture):
    made = renderer(tiny("sdxl"), batch_size=4)
    # Guidance doubles what the UNet is given: 4 rows are 2 images.
    with short_of_memory(made._pipeline.unet, lambda given: len(given) <= 4):
        drawn = draw(made)
    assert [drawing.batch for drawing in drawn] == [2] * 5
    assert pixels(drawn) == pixels(draw(renderer(tiny("sdxl"), batch_size=2)))
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "memory ran out on cpu: drawing 2 together from here on"
    ]


def test_an_image_too_large_to_decode_at_once_is_decoded_in_tiles(tiny: Tiny, caplog: pytest.LogCaptureFixture):
    made = renderer(tiny("sd3"), width=128, height=128)
    with short_of_memory(made._pipeline.vae.decoder, lambda given: given.shape[-1] <= 32):
        (drawing,) = draw(made, ORDERS[:1])
    assert drawing.image.size == (128, 128)
    assert "decoding in tiles from here on" in caplog.text
    assert "decoded in tiles" in drawing.made_with


@pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")
def test_half_precision_that_was_decoded_in_full_is_half_again_when_memory_ran_out(tiny: Tiny):
    # SDXL makes its VAE float32 to decode, and float16 again only after decoding.
    made = renderer(tiny("sdxl"), dtype="float16", batch_size=2)
    failing_once(made._pipeline.vae.decoder, torch.OutOfMemoryError("CUDA out of memory."))
    drawn = draw(made, ORDERS[:2])
    assert [drawing.batch for drawing in drawn] == [1, 1]
    assert pixels(drawn) == pixels(draw(renderer(tiny("sdxl"), dtype="float16", batch_size=1), ORDERS[:2]))


class TestMeasuring:
    """The batch is measured on a GPU; here its memory is told, and the CPU draws."""

    @pytest.fixture(autouse=True)
    def gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # One image takes 4 GiB, the second 3 more: of 9 that are free, two images are within nine tenths.
        zero = ("memory_reserved", "memory_allocated", "empty_cache", "reset_peak_memory_stats", "synchronize")
        told: dict[str, tuple[Any, ...]] = dict.fromkeys(zero, (0,))
        told |= {"mem_get_info": ((9 * GIB, 9 * GIB),), "max_memory_allocated": (4 * GIB, 7 * GIB)}
        for name, values in told.items():
            answers = itertools.cycle(values)
            monkeypatch.setattr(torch.cuda, name, lambda *_, answers=answers: next(answers))

    def test_what_fits_is_drawn_together(self, tiny: Tiny):
        made = renderer(tiny("sdxl"))
        made._press.device = "cuda"
        assert [drawing.batch for drawing in draw(made, ORDERS[:3])] == [2] * 3

    @pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")
    def test_running_out_of_memory_is_an_answer(self, tiny: Tiny):
        made, decoded = renderer(tiny("sdxl"), dtype="float16"), []
        made._press.device = "cuda"

        def fail(*_: Any) -> None:
            decoded.append(1)
            # The first image to see its size, one alone, then the first of two.
            if len(decoded) == 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        made._pipeline.vae.decoder.register_forward_pre_hook(fail)
        assert [drawing.batch for drawing in draw(made, ORDERS[:1])] == [1]

    def test_prompts_are_read_ahead_before_anything_is_drawn(self, tiny: Tiny):
        made, read, read_at_first = renderer(tiny("sdxl"), offload=True), [], []
        made._press.device = "cuda"
        made._pipeline.text_encoder.register_forward_hook(lambda _, args, output: read.append(len(args[0])))
        made._pipeline.unet.register_forward_pre_hook(lambda *_: read_at_first.append(len(read)))
        draw(made, ORDERS[:2])
        # Two prompts: what stands for no prompt is zeros here.
        assert read_at_first[0] == len(read) == 2


def test_what_fits_in_no_way_is_an_error(tiny: Tiny):
    made = renderer(tiny("sd3"), batch_size=2)
    with (
        short_of_memory(made._pipeline.transformer, lambda given: False),
        pytest.raises(RenderError, match=r"(?s)cannot draw on cpu: CUDA out of memory.*Memory is short"),
    ):
        draw(made)


def test_other_failures_are_not_tried_again(tiny: Tiny):
    made, tries = renderer(tiny("sd3"), batch_size=2), []

    def fail(*_: Any) -> None:
        tries.append(1)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    made._pipeline.transformer.register_forward_pre_hook(fail)
    with pytest.raises(RenderError, match="cannot be multiplied"):
        draw(made)
    assert len(tries) == 1


def test_the_log_says_with_what_and_how_long(tiny: Tiny, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="mis_dataset"):
        draw(renderer(tiny("sd3")))
    assert [f"torch {torch.__version__}" in message for message in caplog.messages] == [True, False]
    assert "s an image on cpu, decoding not counted" in caplog.messages[1]


def test_a_model_of_few_steps_is_drawn_with_few_steps_and_unguided(tiny: Tiny, tmp_path: Path):
    folder = shutil.copytree(tiny("sd3"), tmp_path / "sd-turbo")
    (drawing,) = draw(renderer(folder, steps=None), ORDERS[:1])
    assert (drawing.steps, drawing.guidance) == (4, 0.0)
    (guided,) = draw(renderer(folder, steps=2, guidance=3.0), ORDERS[:1])
    assert (guided.steps, guided.guidance) == (2, 3.0)


def missing_compiler(*_: Any) -> Any:
    raise subprocess.CalledProcessError(1, "gcc")


def found_out_late(graph: Any, inputs: Any) -> Any:
    """Compiles to what fails when it is called, as Triton where it has no compiler."""
    return missing_compiler


def compiled_by(denoiser: Any, backend: Callable[..., Any]) -> None:
    """Have another compiler do the work: that of torch takes too long for a suite."""
    denoiser.compile_repeated_blocks = functools.partial(denoiser.compile_repeated_blocks, backend=backend)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
class TestCompiling:
    @pytest.fixture(autouse=True)
    def no_code_of_others(self) -> Iterator[None]:
        torch.compiler.reset()
        yield
        torch.compiler.reset()

    def test_only_the_repeated_blocks_are_compiled(self, tiny: Tiny):
        # The class of SD3 does not name them.
        transformer = renderer(tiny("sd3"))._pipeline.transformer
        compile_blocks(transformer)
        compiled = {type(part).__name__ for part in transformer.modules() if part._compiled_call_impl is not None}
        assert compiled == {"JointTransformerBlock"}

    def test_blocks_of_one_kind_share_their_code(self, tiny: Tiny):
        small = renderer(tiny("sd3"))._pipeline.transformer
        # More layers than a piece of code may be compiled anew.
        layers = {"num_layers": 12, "dual_attention_layers": (0, 1, 2, 3)}
        transformer = type(small).from_config(dict(small.config) | layers)
        compiled: list[Any] = []
        compiled_by(transformer, lambda graph, inputs: compiled.append(graph) or graph.forward)
        compile_blocks(transformer)
        with torch.no_grad(), torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
            for seed in range(2):
                torch.manual_seed(seed)
                given = [torch.randn(shape) for shape in ((2, 4, 32, 32), (2, 7, 32), (2, 64), (2,))]
                transformer(*given)
        # With a second attention, without, and the last, which leaves the text alone.
        assert len(compiled) == 3

    def test_each_shape_of_a_block_has_code_of_its_own(self):
        diffusers = pytest.importorskip("diffusers")
        unet = diffusers.UNet2DConditionModel(
            block_out_channels=(32, 64),
            down_block_types=("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2,
            layers_per_block=1,
            attention_head_dim=8,
            norm_num_groups=8,
            cross_attention_dim=32,
        )
        given: list[Any] = []
        compiled_by(unet, lambda graph, inputs: given.append(inputs) or graph.forward)
        compile_blocks(unet)
        with torch.no_grad():
            unet(torch.randn(2, 4, 16, 16), 1, torch.randn(2, 7, 32))
        # One for 32 channels, one for 64. Code for any size, which is slower, would be given the sizes.
        assert len(given) == 2
        assert not any(isinstance(value, torch.SymInt) for inputs in given for value in inputs)

    @pytest.mark.parametrize("backend", [missing_compiler, found_out_late])
    def test_blocks_that_do_not_work_compiled_work_as_they_are(
        self, tiny: Tiny, caplog: pytest.LogCaptureFixture, backend: Callable[..., Any]
    ):
        made = renderer(tiny("sd3"))
        made._press.compiles = True  # as on a GPU
        compiled_by(made._pipeline.transformer, backend)
        drawn = draw(made)
        assert pixels(drawn) == pixels(draw(renderer(tiny("sd3"))))
        (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
        assert warning.startswith("compiled blocks do not work on cpu, drawing without: ")
        assert not any("compiled" in drawing.made_with for drawing in drawn)

    def test_a_denoiser_without_the_blocks_that_it_names_is_not_compiled(self, tiny: Tiny):
        made = renderer(tiny("sd3"))
        made._press.compiles = True
        made._pipeline.transformer._repeated_blocks = ["NoSuchBlock"]
        assert pixels(draw(made)) == pixels(draw(renderer(tiny("sd3"))))

    def test_compiled_blocks_that_were_asked_for_have_to_work(self, tiny: Tiny):
        made = renderer(tiny("sd3"), compiled=True)
        compiled_by(made._pipeline.transformer, missing_compiler)
        with pytest.raises(RenderError, match=r"(?s)cannot draw on cpu.*the compiler.*leave compiled out"):
            draw(made)

    def test_what_fails_after_a_batch_was_drawn_is_no_fault_of_the_compiler(self, tiny: Tiny):
        made = renderer(tiny("sd3"))
        made._press.compiles = True
        compiled_by(made._pipeline.transformer, lambda graph, inputs: graph.forward)
        assert all("blocks compiled" in drawing.made_with for drawing in draw(made, ORDERS[:1]))
        failing_once(made._pipeline.transformer, RuntimeError("CUDA error: unspecified launch failure"))
        with pytest.raises(RenderError, match="unspecified launch failure"):
            draw(made)


class TestSpeed:
    @pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "flux"])
    def test_layers_that_reckon_in_8_bits_see_more_rows_than_16(self, tiny: Tiny, name: str):
        # Of one row an image, as modulation by the timestep sees, 8 guided images make 16: too few for int8 on a GPU.
        made, rows = renderer(tiny(name)), []
        denoiser = getattr(made._pipeline, "transformer", None) or made._pipeline.unet
        fit = [part for layer, part in denoiser.named_modules() if is_fit(part, layer)]
        for part in fit:
            part.register_forward_pre_hook(lambda _, args: rows.append(args[0].numel() // args[0].shape[-1]))
        draw(made, ORDERS[:1])
        assert min(rows) > 16
        assert len(rows) >= 2 * len(fit)

    def test_8_bit_numbers_are_recorded_with_the_version_of_their_library(self, tiny: Tiny):
        torchao = pytest.importorskip("torchao", reason="needs the extra 'diffusion-fast'")
        made = renderer(tiny("sd3"), quantise="int8")
        assert f"torchao {torchao.__version__}" in made._made_with(is_compiled=False, is_tiled=False)

    def test_nothing_is_compiled_or_changed_unasked_on_a_cpu(self, tiny: Tiny):
        made = renderer(tiny("sd3"))
        assert (made._press.compiles, made._press.batch) == (False, None)
        draw(made, ORDERS[:1])
        assert made._press.batch == 1
        assert all(part._compiled_call_impl is None for part in made._pipeline.transformer.modules())

    @pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
    def test_float8_wants_a_gpu(self, tiny: Tiny):
        pytest.importorskip("torchao", reason="needs the extra 'diffusion-fast'")
        with pytest.raises(RenderError, match=r"compute capability 8\.9.*'int8'"):
            draw(renderer(tiny("sd3"), quantise="float8"))

    def test_a_missing_extra_is_named(self, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "torchao.quantization", None)
        with pytest.raises(BackendError, match=r"mis-dataset\[diffusion-fast\]"):
            draw(renderer(tiny("sd3"), quantise="int8"))

    def test_skipped_steps_are_decided_image_by_image(self, tiny: Tiny):
        with pytest.raises(BackendError, match="skip_below decides for a whole batch"):
            renderer(tiny("sd3"), skip_below=0.1, batch_size=2)

    def test_steps_are_skipped_where_there_are_few_of_them_too(self, tiny: Tiny):
        pytest.importorskip("cache_dit", reason="needs the extra 'diffusion-fast'")
        made, worked = renderer(tiny("sd3"), steps=4, skip_below=1.0), []
        made._pipeline.transformer.transformer_blocks[-1].register_forward_hook(lambda *_: worked.append(1))
        draw(made, ORDERS[:1])
        # The first two steps warm up; the last block has no part in the others.
        assert len(worked) == 2

    def test_a_single_step_cannot_be_skipped(self, tiny: Tiny, anything_installed: None):
        with pytest.raises(RenderError, match="skip_below has nothing to skip in 1 step"):
            renderer(tiny("sd3"), steps=1, skip_below=0.1)

    def test_a_unet_is_refused_before_it_is_loaded(self, tiny: Tiny, anything_installed: None):
        with pytest.raises(RenderError, match=r"StableDiffusionXLPipeline has a UNet; leave skip_below out"):
            renderer(tiny("sdxl"), skip_below=0.1)

    @pytest.mark.parametrize("settings", [{"quantise": "int8"}, {"skip_below": 0.1}])
    def test_a_missing_extra_is_named_before_anything_is_loaded(
        self, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
    ):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        monkeypatch.setitem(sys.modules, "torchao", None)
        monkeypatch.setitem(sys.modules, "cache_dit", None)
        with pytest.raises(BackendError, match=r"mis-dataset\[diffusion-fast\]"):
            renderer(tiny("sd3"), **settings)

    @pytest.fixture
    def anything_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
