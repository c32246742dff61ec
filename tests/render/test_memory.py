"""Where parts lie, and how many images fit, by arithmetic alone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mis_dataset.render._memory import (
    GIB,
    WHOLE,
    Placement,
    Sizes,
    choose_placement,
    denoiser_of,
    fitting_batch,
    is_out_of_memory,
    measured_sizes,
    place,
)

MEGAPIXEL = 2**20
# Bytes of the weights in bfloat16, from the numbers of parameters.
MODELS = {
    "SD3.5-Large": Sizes(text=int(10.4 * GIB), denoiser=int(15.0 * GIB), rest=int(0.2 * GIB)),
    "SD3.5-Medium": Sizes(text=int(10.4 * GIB), denoiser=int(4.2 * GIB), rest=int(0.2 * GIB)),
    "SDXL": Sizes(text=int(1.5 * GIB), denoiser=int(4.8 * GIB), rest=int(0.2 * GIB)),
}
# What is free on cards of these sizes: their drivers keep some.
FREE = {"8 GB": 7.5, "12 GB": 11.5, "24 GB": 23.3, "80 GB": 78.0}


@pytest.mark.parametrize(
    ("model", "card", "text", "denoiser"),
    [
        ("SD3.5-Large", "8 GB", "streams", "streams"),
        ("SD3.5-Large", "12 GB", "shifts", "streams"),
        ("SD3.5-Large", "24 GB", "shifts", "stays"),
        ("SD3.5-Large", "80 GB", "stays", "stays"),
        ("SD3.5-Medium", "8 GB", "streams", "stays"),
        ("SD3.5-Medium", "12 GB", "shifts", "stays"),
        ("SD3.5-Medium", "24 GB", "stays", "stays"),
        ("SDXL", "8 GB", "shifts", "stays"),
        ("SDXL", "12 GB", "stays", "stays"),
    ],
)
def test_cards_of_all_sizes_are_used_as_docs_rendering_says(model: str, card: str, text: Any, denoiser: Any):
    assert choose_placement(MODELS[model], int(FREE[card] * GIB), MEGAPIXEL) == Placement(text, denoiser)


def test_offload_may_be_asked_for_and_turned_down():
    free = 80 * GIB
    assert choose_placement(MODELS["SDXL"], free, MEGAPIXEL, offload=True) == Placement("shifts", "stays")
    assert choose_placement(MODELS["SD3.5-Large"], GIB, MEGAPIXEL, offload=False) == WHOLE


def peaks(weights: float, each: float) -> Callable[[int], int]:
    return lambda images: int((weights + each * images) * GIB)


@pytest.mark.parametrize(
    ("each", "pixels", "batch"),
    [
        (1.0, MEGAPIXEL, 8),  # 44 would fit, but more than 8 megapixels win nothing
        (12.0, MEGAPIXEL, 2),  # 3 would fit, a power of two is 2
        (60.0, MEGAPIXEL, 1),  # not even one within nine tenths, but it was drawn
        (0.1, MEGAPIXEL // 4, 32),
        (0.1, MEGAPIXEL // 256, 64),
        (1.0, 9 * MEGAPIXEL, 1),
    ],
)
def test_a_batch_fits_into_nine_tenths_of_what_is_free(each: float, pixels: int, batch: int):
    assert fitting_batch(peaks(20, each), 72 * GIB, pixels) == batch


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_errors_about_memory_are_told_from_others(error: Exception, is_memory: bool):
    assert is_out_of_memory(error) is is_memory


class TestPlaces:
    @pytest.fixture
    def moves(self) -> list[tuple[str, str]]:
        return []

    @pytest.fixture
    def pipeline(self, moves: list[tuple[str, str]]) -> Any:
        torch = pytest.importorskip("torch", reason="needs the extra 'diffusion'")

        class Part(torch.nn.Linear):
            def __init__(self, name: str) -> None:
                super().__init__(4, 2, bias=False)
                self.name = name

            def to(self, device: str) -> Any:
                moves.append((self.name, device))
                return self

        names = ("text_encoder", "text_encoder_2", "transformer", "vae")
        return SimpleNamespace(components={"tokenizer": "no module", **{name: Part(name) for name in names}})

    def test_weights_are_counted_by_what_they_do(self, pipeline: Any):
        assert measured_sizes(pipeline) == Sizes(text=2 * 4 * 8, denoiser=4 * 8, rest=4 * 8)

    def test_numbers_of_8_bits_count_as_what_they_are(self, pipeline: Any):
        torch = pytest.importorskip("torch")
        torchao = pytest.importorskip("torchao.quantization", reason="needs the extra 'diffusion-fast'")
        layer = torch.nn.Linear(64, 32, bias=False)
        small = torchao.Int8Tensor.from_hp(layer.weight.detach(), torchao.PerRow())
        layer.weight = torch.nn.Parameter(small, requires_grad=False)
        pipeline.components["transformer"] = layer
        # One byte a weight; a row's scale takes four, its zero point one where there is one.
        assert 32 * (64 + 4) <= measured_sizes(pipeline).denoiser <= 32 * (64 + 5)

    def test_a_denoiser_by_another_name_is_not_changed(self):
        with pytest.raises(ValueError, match="neither a transformer nor a unet"):
            denoiser_of(SimpleNamespace(components={"tokenizer": "no module"}))

    def test_everything_stays(self, pipeline: Any, moves: list[tuple[str, str]]):
        at_work = place(pipeline, WHOLE, "gpu")
        assert dict(moves) == dict.fromkeys(("text_encoder", "text_encoder_2", "transformer", "vae"), "gpu")
        moves.clear()
        with at_work():
            assert moves == []

    def test_text_encoders_and_the_rest_take_turns(self, pipeline: Any, moves: list[tuple[str, str]]):
        at_work = place(pipeline, Placement("shifts", "stays"), "gpu")
        assert set(moves) == {("vae", "gpu"), ("transformer", "gpu")}
        moves.clear()
        # Invariant: the ones leave before the others come, so that the larger half has to fit and no more.
        with at_work():
            assert [where for _, where in moves] == ["cpu", "cpu", "gpu", "gpu"]
            assert {name for name, where in moves if where == "gpu"} == {"text_encoder", "text_encoder_2"}
            moves.clear()
        assert [where for _, where in moves] == ["cpu", "cpu", "gpu", "gpu"]
        assert {name for name, where in moves if where == "gpu"} == {"vae", "transformer"}

    def test_a_denoiser_comes_back_from_a_turn_that_failed(
        self, pipeline: Any, moves: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
    ):
        at_work = place(pipeline, Placement("shifts", "stays"), "gpu")

        def fail(device: str) -> None:
            if device == "gpu":
                raise RuntimeError("CUDA out of memory.")

        monkeypatch.setattr(pipeline.components["text_encoder"], "to", fail)
        with pytest.raises(RuntimeError, match="out of memory"), at_work():
            pass
        assert {name: where for name, where in moves if name in ("vae", "transformer")} == dict.fromkeys(
            ("vae", "transformer"), "gpu"
        )
