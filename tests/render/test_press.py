"""The renderer at work on pipelines with real classes and tiny weights: what it saves, and what it does not change."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mis_dataset.errors import BackendError, RenderError
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.render._speed import compile_blocks
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
    assert "decoded in tiles" in made._made_with(made._press)


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


class TestSpeed:
    @pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
    def test_only_the_repeated_blocks_are_compiled(self, tiny: Tiny):
        # The class of SD3 does not name them; compiling itself takes too long for a suite and is left out here.
        transformer = renderer(tiny("sd3"))._pipeline.transformer
        compile_blocks(transformer)
        compiled = {type(part).__name__ for part in transformer.modules() if part._compiled_call_impl is not None}
        assert compiled == {"JointTransformerBlock"}

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
