from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mis_dataset.backends import find_backend
from mis_dataset.errors import BackendError, RenderError
from mis_dataset.options import identity, options_schema
from mis_dataset.records import Rejected
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.render._doubt import Doubt
from mis_dataset.render.diffusion import DiffusionRenderer

pytestmark = pytest.mark.filterwarnings(
    # The Euler scheduler of diffusers makes NumPy arrays of tensors in a way that NumPy 2 deprecates.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

Tiny = Callable[[str], Path]
CLASSES = ("sd1", "sdxl", "sd3", "flux")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ORDERS = [
    DrawOrder(object=thing, prompt=f"a photo of {thing}", seed=seed)
    for thing, seed in [
        ("a red cup", 1),
        ("a bolt cutter", 2**63 - 1),
        ("a red cup", 3),
        ("a bicycle", 3),
        ("a hat", 5),
    ]
]


def renderer(folder: Path, **settings: Any) -> DiffusionRenderer:
    return DiffusionRenderer(model=str(folder), **{"steps": 2, "device": "cpu", "width": 64, "height": 64} | settings)


def draw(folder: Path, orders: Sequence[DrawOrder] = ORDERS[:1], **settings: Any) -> list[Drawing]:
    return [drawing for drawing in renderer(folder, **settings).render(orders) if isinstance(drawing, Drawing)]


def pixels(drawings: Sequence[Drawing]) -> list[bytes]:
    return [drawing.image.tobytes() for drawing in drawings]


def changed(folder: Path, copy: Path, **index: Any) -> Path:
    """A copy of a pipeline's folder, with entries of its ``model_index.json`` replaced."""
    shutil.copytree(folder, copy)
    path = copy / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | index))
    return copy


class TestDrawing:
    def test_the_libraries_print_nothing_where_they_are_imported_either(self, tiny: Tiny) -> None:
        code = (
            "from mis_dataset.render import DrawOrder; from mis_dataset.render.diffusion import DiffusionRenderer; "
            f"made = DiffusionRenderer(model={str(tiny('sd1'))!r}, device='cpu', steps=1); "
            "list(made.render([DrawOrder('a cup', 'a cup', 1)]))"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("", "")

    def test_nothing_is_printed(self, tiny: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
        list(renderer(tiny("sd1")).render(ORDERS[:1]))
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("name", CLASSES)
    def test_an_image_depends_on_its_order_alone(self, tiny: Tiny, name: str) -> None:
        # Invariant: neither how orders are cut into calls nor which process loaded the weights changes a pixel.
        together = pixels(draw(tiny(name), ORDERS))
        fresh = renderer(tiny(name))
        apart = [pixels(list(fresh.render([order])))[0] for order in reversed(ORDERS)]
        assert together == apart[::-1]

    @pytest.mark.parametrize("name", CLASSES)
    def test_other_seeds_and_other_prompts_give_other_images(self, tiny: Tiny, name: str) -> None:
        assert len(set(pixels(draw(tiny(name), ORDERS)))) == len(ORDERS)

    @pytest.mark.parametrize("name", CLASSES)
    def test_batches_keep_the_order_and_are_recorded(self, tiny: Tiny, name: str) -> None:
        single, batched = draw(tiny(name), ORDERS), draw(tiny(name), ORDERS, batch_size=2)
        assert [drawing.batch for drawing in batched] == [2, 2, 2, 2, 2]
        assert {drawing.batch for drawing in single} == {1}
        # Pixels of a batch may differ in the last digits, so each image is matched with the nearest single one.
        flat = [np.stack([np.asarray(drawing.image, dtype=float) for drawing in some]) for some in (batched, single)]
        distance = np.abs(flat[0][:, None] - flat[1][None]).mean(axis=(2, 3, 4))
        assert distance.argmin(axis=1).tolist() == [0, 1, 2, 3, 4]
        assert distance.diagonal().max() < 1

    def test_no_orders_load_no_model(self, tiny: Tiny, tmp_path: Path) -> None:
        broken = changed(tiny("sd1"), tmp_path / "broken", _class_name="NoSuchPipeline")
        assert list(renderer(broken).render([])) == []

    def test_size_and_negative_prompt_reach_the_pipeline(self, tiny: Tiny) -> None:
        plain = draw(tiny("sdxl"), width=48, height=32)
        without_hats = draw(tiny("sdxl"), width=48, height=32, negative_prompt="hats")
        assert plain[0].image.size == (48, 32)
        assert pixels(plain) != pixels(without_hats)

    def test_another_scheduler_draws_another_image(self, tiny: Tiny) -> None:
        assert pixels(draw(tiny("sdxl"))) != pixels(draw(tiny("sdxl"), scheduler="DPMSolverMultistepScheduler"))

    def test_offloading_changes_no_pixel(self, tiny: Tiny) -> None:
        assert pixels(draw(tiny("sdxl"), offload=True)) == pixels(draw(tiny("sdxl")))

    def test_prompts_that_no_text_encoder_reads_whole_are_logged_once(
        self, tiny: Tiny, caplog: pytest.LogCaptureFixture
    ) -> None:
        # The tiny tokenizers make a token of every letter: CLIP reads 77 of them, T5 in SD3 256.
        orders = [*ORDERS[:1], *(DrawOrder("a cup", f"{length * 'x'}", 0) for length in (100, 120))]
        with caplog.at_level(logging.WARNING, logger="mis_dataset"):
            draw(tiny("sd3"), orders)
            assert not caplog.messages
            draw(tiny("sd1"), orders)
            draw(tiny("sd3"), [DrawOrder("a cup", 300 * "x", 0)])
            # Redraws and later shards say nothing new.
            made = renderer(tiny("sd1"))
            for _ in range(2):
                list(made.render(orders))
        assert len(caplog.messages) == 3
        assert "only the beginning of 2 of 3 prompts" in caplog.messages[0]
        assert "only the beginning of 1 of 1 prompts" in caplog.messages[1]
        assert len(caplog.messages[0]) < 100 + len(str(tiny("sd1"))) + 80


class TestRecord:
    def test_says_what_the_image_was_made_with(self, tiny: Tiny) -> None:
        settings = {"steps": 3, "guidance": 2.5, "negative_prompt": "blurry", "scheduler": "EulerDiscreteScheduler"}
        made = renderer(tiny("sd1"), dtype="bfloat16", **settings)
        (drawing,) = made.render(ORDERS[:1])
        assert isinstance(drawing, Drawing)
        assert (drawing.model, drawing.revision) == ("sd1", made.model_identity["revision"])
        assert (drawing.steps, drawing.guidance, drawing.negative_prompt) == (3, 2.5, "blurry")
        assert (drawing.scheduler, drawing.device, drawing.dtype) == ("EulerDiscreteScheduler", "cpu", "bfloat16")
        assert (drawing.image.mode, drawing.image.size) == ("RGB", (64, 64))
        assert "diffusers " in drawing.made_with

    def test_settings_left_out_are_recorded_as_the_pipeline_chose_them(self, tiny: Tiny) -> None:
        (drawing,) = draw(tiny("sd3"), steps=None, device="auto", width=None, height=None)
        assert (drawing.steps, drawing.guidance, drawing.negative_prompt) == (28, 7.0, "")
        assert (drawing.scheduler, drawing.image.size) == ("FlowMatchEulerDiscreteScheduler", (64, 64))


class TestBlank:
    def test_an_image_that_the_safety_checker_blacks_out(self, tiny: Tiny) -> None:
        first, *others = renderer(tiny("sd1_flagging"), batch_size=2).render(ORDERS[:3])
        assert isinstance(first, Rejected)
        assert (first.reason, "safety checker blacked it out" in first.detail) == ("blank", True)
        assert others == [first, first]

    def test_a_model_that_draws_nothing_else_is_given_up_and_the_remedy_told(self, tiny: Tiny, tmp_path: Path) -> None:
        folder = changed(tiny("sdxl"), tmp_path / "grey")
        edit_weights(folder / "vae/diffusion_pytorch_model.safetensors", "decoder.conv_out", 0.0)
        made = renderer(folder, steps=1, batch_size=10)
        assert len(list(made.render(ORDERS * 2))) == 10
        with pytest.raises(RenderError, match=r"grey draws nothing: all of its first 16 .* one flat colour .*dtype"):
            list(made.render(ORDERS * 2))

    def test_an_image_that_shows_something_dispels_all_doubt(self) -> None:
        doubt, blank = Doubt("a model"), Rejected("blank", "grey")
        drawing = Drawing(Image.new("RGB", (8, 8)), model="a model", revision="1")
        results = [blank] * 15 + [drawing] + [blank] * 100
        assert [doubt.look(result) for result in results] == results

    def test_an_image_of_one_colour(self, tiny: Tiny, tmp_path: Path) -> None:
        # With the decoder's last convolution zeroed, every picture is plain grey.
        folder = changed(tiny("sdxl"), tmp_path / "grey")
        edit_weights(folder / "vae/diffusion_pytorch_model.safetensors", "decoder.conv_out", 0.0)
        (result,) = renderer(folder).render(ORDERS[:1])
        assert isinstance(result, Rejected)
        assert (result.reason, "spread 0.0 of 255" in result.detail) == ("blank", True)

    @pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
    def test_an_image_of_numbers_that_overflowed(self, tiny: Tiny, tmp_path: Path) -> None:
        folder = changed(tiny("sdxl"), tmp_path / "overflow")
        edit_weights(folder / "vae/diffusion_pytorch_model.safetensors", "decoder.conv_out", float("nan"))
        (result,) = renderer(folder).render(ORDERS[:1])
        assert isinstance(result, Rejected)
        assert (result.reason, "dtype" in result.detail) == ("blank", True)


class TestSettings:
    def test_is_the_backend_named_diffusion_and_needs_a_model_only(self) -> None:
        assert find_backend("render", "diffusion") is DiffusionRenderer
        assert options_schema(DiffusionRenderer)["required"] == ["model"]

    def test_the_constructor_imports_nothing_heavy(self, tiny: Tiny) -> None:
        code = (
            "import sys; from mis_dataset.render.diffusion import DiffusionRenderer; "
            f"print(DiffusionRenderer(model={str(tiny('sd1'))!r}).model_identity); "
            "sys.exit(bool({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    @pytest.mark.parametrize("revision", [None, "main", "v1.0", "0123456"])
    def test_a_hub_model_needs_a_commit(self, revision: str | None) -> None:
        with pytest.raises(
            BackendError, match=r"owner/name .* pinned to a commit.*40 digits.*hf models info owner/name"
        ):
            DiffusionRenderer(model="owner/name", revision=revision)

    def test_a_hub_model_with_a_commit_is_known_by_it(self) -> None:
        made = DiffusionRenderer(model="owner/name", revision=COMMIT)
        assert identity(made)["model"] == {"revision": COMMIT}

    @pytest.mark.parametrize("model", ["./weights", "/no/such/folder", "weights/sd/large", "model.safetensors"])
    def test_a_folder_that_is_not_there(self, model: str) -> None:
        with pytest.raises(RenderError, match=f"there is no folder {model}"):
            DiffusionRenderer(model=model)

    def test_width_and_height_go_together(self, tiny: Tiny) -> None:
        with pytest.raises(BackendError, match="width and height go together"):
            renderer(tiny("sd1"), height=None)


class TestFolder:
    def test_a_copy_of_the_folder_is_the_same_model(self, tiny: Tiny, tmp_path: Path) -> None:
        copy = changed(tiny("sd3"), tmp_path / "elsewhere")
        (copy / "model_index.json").write_text((tiny("sd3") / "model_index.json").read_text())
        (copy / "README.md").write_text("The model reads no README.")
        assert renderer(copy).model_identity == renderer(tiny("sd3")).model_identity

    @pytest.mark.parametrize(
        "part", ["scheduler/scheduler_config.json", "tokenizer/tokenizer.json", "text_encoder/model.safetensors"]
    )
    def test_one_changed_byte_makes_another_model(self, tiny: Tiny, tmp_path: Path, part: str) -> None:
        copy = changed(tiny("sd3"), tmp_path / "copy")
        before = renderer(copy).model_identity
        data = bytearray((copy / part).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / part).write_bytes(data)
        assert renderer(copy).model_identity != before

    def test_another_part_in_the_index_makes_another_model(self, tiny: Tiny, tmp_path: Path) -> None:
        same = renderer(changed(tiny("sd1"), tmp_path / "same"))
        other = renderer(changed(tiny("sd1"), tmp_path / "other", scheduler=["diffusers", "PNDMScheduler"]))
        assert same.model_identity != other.model_identity

    def test_large_weights_are_told_apart_by_what_lies_in_their_middle(self, tiny: Tiny, tmp_path: Path) -> None:
        # A merged adapter changes neither the size nor the ends of a file.
        copy = changed(tiny("sd1"), tmp_path / "copy")
        header = json.dumps({"x": {"dtype": "U8", "shape": [2**26], "data_offsets": [0, 2**26]}}).encode()
        with (copy / "unet/large.safetensors").open("wb") as stream:
            stream.write(len(header).to_bytes(8, "little") + header)
            stream.truncate(8 + len(header) + 2**26)
        before = renderer(copy).model_identity
        with (copy / "unet/large.safetensors").open("r+b") as stream:
            stream.seek(2**25)
            stream.write(b"x" * 2**20)
        assert renderer(copy).model_identity != before

    def test_without_an_index(self, tmp_path: Path) -> None:
        with pytest.raises(RenderError, match=r"holds no model_index.json.*save_pretrained"):
            renderer(tmp_path)

    @pytest.mark.parametrize("text", ["{", "[]", "{}", "\xff"])
    def test_with_an_unreadable_index(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "model_index.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(RenderError, match=r"model_index\.json"):
            renderer(tmp_path)

    def test_with_components_missing(self, tiny: Tiny, tmp_path: Path) -> None:
        copy = changed(tiny("sd3"), tmp_path / "copy")
        shutil.rmtree(copy / "tokenizer_2")
        shutil.rmtree(copy / "vae")
        with pytest.raises(RenderError, match=r"incomplete: .* tokenizer_2, vae"):
            renderer(copy)

    def test_with_pickled_weights_only(self, tiny: Tiny, tmp_path: Path) -> None:
        copy = changed(tiny("sd3"), tmp_path / "copy")
        (copy / "text_encoder/model.safetensors").rename(copy / "text_encoder/pytorch_model.bin")
        with pytest.raises(RenderError, match=r"text_encoder has pickled weights only.*safetensors"):
            renderer(copy)

    @pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda data: data[:-100], r"has [\d,]+ bytes, but its header tells of [\d,]+"),
            (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "does not begin as safetensors do"),
            (lambda data: b"", "does not begin as safetensors do"),
            (lambda data: data[:8] + b"?" + data[9:], "has a header that is no list of tensors"),
            (lambda data: (2).to_bytes(8, "little") + b"[]", "has a header that is no list of tensors"),
        ],
        ids=["cut off", "a pointer", "empty", "no JSON", "no object"],
    )
    def test_with_damaged_weights(
        self, tiny: Tiny, tmp_path: Path, part: str, spoil: Callable[[bytes], bytes], message: str
    ) -> None:
        copy = changed(tiny("sd1"), tmp_path / "copy")
        (copy / part).write_bytes(spoil((copy / part).read_bytes()))
        with pytest.raises(RenderError, match=rf"{part} {message}.*get it again"):
            renderer(copy)

    def test_weights_that_are_not_loaded_may_be_incomplete(self, tiny: Tiny, tmp_path: Path) -> None:
        copy = changed(tiny("sd1"), tmp_path / "copy")
        weights = copy / "unet/diffusion_pytorch_model.safetensors"
        shutil.copy(weights, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
        shutil.copy(weights, weights.with_name("diffusion_pytorch_model.fp8-00001-of-00002.safetensors"))
        weights.write_bytes(b"")
        renderer(copy, variant="fp16")
        renderer(copy, variant="fp8")
        with pytest.raises(RenderError, match="does not begin"):
            renderer(copy)

    def test_without_the_variant(self, tiny: Tiny) -> None:
        with pytest.raises(RenderError, match="sd1 has no weights of the variant 'fp16'; leave variant out"):
            renderer(tiny("sd1"), variant="fp16")


class TestLoading:
    def refuses(self, folder: Path, message: str, **settings: Any) -> None:
        made = renderer(folder, **settings)
        with pytest.raises(RenderError, match=message):
            list(made.render(ORDERS[:1]))

    @pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
    def test_missing_weights(self, tiny: Tiny, tmp_path: Path, part: str) -> None:
        copy = changed(tiny("sd1"), tmp_path / "copy")
        (copy / part).unlink()
        self.refuses(copy, r"(?s)cannot load .*copy: .*no file named .*safetensors.*Download it again")

    def test_an_unknown_class(self, tiny: Tiny, tmp_path: Path) -> None:
        copy = changed(tiny("sd1"), tmp_path / "copy", _class_name="NoSuchPipeline", _diffusers_version="9.9")
        self.refuses(copy, r"no pipeline class 'NoSuchPipeline'.* saved with diffusers 9\.9")

    def test_code_of_its_own_is_not_run(self, tiny: Tiny, tmp_path: Path) -> None:
        copy = changed(tiny("sd1"), tmp_path / "copy", _class_name=["pipeline", "MyPipeline"])
        (copy / "pipeline.py").write_text("raise SystemExit('run')")
        self.refuses(copy, "code of its own is not run")

    def test_a_pipeline_that_needs_an_image(self, tiny: Tiny, tmp_path: Path) -> None:
        copy = changed(tiny("sd1"), tmp_path / "copy", _class_name="StableDiffusionInpaintPipeline")
        self.refuses(copy, "StableDiffusionInpaintPipeline, which does not draw images from text alone")

    @pytest.mark.skipif("sys.modules.get('torch') and __import__('torch').cuda.is_available()", reason="has a GPU")
    def test_a_device_that_is_not_there(self, tiny: Tiny) -> None:
        self.refuses(tiny("sd1"), r"device = 'cuda:0', but .* finds only: .*cpu", device="cuda:0")

    @pytest.mark.parametrize("scheduler", ["NoSuchScheduler", "FlowMatchEulerDiscreteScheduler"])
    def test_a_scheduler_that_does_not_fit(self, tiny: Tiny, scheduler: str) -> None:
        self.refuses(tiny("sdxl"), f"{scheduler}' does not fit .*EulerDiscreteScheduler", scheduler=scheduler)

    def test_a_diffusion_scheduler_for_a_flow_model(self, tiny: Tiny) -> None:
        self.refuses(tiny("sd3"), "does not fit .*FlowMatchHeunDiscreteScheduler", scheduler="DDIMScheduler")

    def test_a_setting_that_the_pipeline_does_not_take(self, tiny: Tiny, tmp_path: Path) -> None:
        copy = changed(tiny("sd1"), tmp_path / "copy", _class_name="LatentConsistencyModelPipeline")
        self.refuses(copy, "takes no negative_prompt", negative_prompt="blurry")

    @pytest.mark.parametrize(("name", "settings"), [("flux", {}), ("sd1", {"guidance": 0.0})])
    def test_a_negative_prompt_that_would_be_ignored(self, tiny: Tiny, name: str, settings: dict[str, float]) -> None:
        self.refuses(tiny(name), "ignores negative_prompt while", negative_prompt="blurry", **settings)

    def test_a_size_that_the_model_cannot_draw(self, tiny: Tiny) -> None:
        self.refuses(tiny("sd3"), r"(?s)cannot draw on cpu: .*divisible by 4.*change width", width=66)

    def test_a_size_that_the_model_would_round(self, tiny: Tiny) -> None:
        self.refuses(tiny("flux"), "rounds 64 x 66 pixels to 64 x 64; ask for those", height=66)

    def test_an_image_that_does_not_fit_into_memory(self, tiny: Tiny) -> None:
        # The noise alone would take more than a process can address.
        self.refuses(tiny("sd1"), r"(?s)cannot draw.*Memory is short.*offload", width=2**23, height=2**23)


class TestHub:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """The folder of an empty cache, and no network."""
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        return tmp_path

    def test_draws_with_a_cached_model(self, tiny: Tiny, offline: Path) -> None:
        shutil.copytree(tiny("sdxl"), offline / "models--owner--name/snapshots" / COMMIT)
        (drawing,) = DiffusionRenderer(model="owner/name", revision=COMMIT, steps=2, device="cpu").render(ORDERS[:1])
        assert isinstance(drawing, Drawing)
        assert (drawing.model, drawing.revision) == ("owner/name", COMMIT)
        assert pixels([drawing]) == pixels(draw(tiny("sdxl")))

    def test_a_download_that_broke_off(self, tiny: Tiny, offline: Path) -> None:
        # A tokenizer without files would be loaded all the same, empty.
        snapshot = shutil.copytree(tiny("sdxl"), offline / "models--owner--name/snapshots" / COMMIT)
        shutil.rmtree(snapshot / "tokenizer")
        with pytest.raises(RenderError, match=r"incomplete: .* tokenizer"):
            list(DiffusionRenderer(model="owner/name", revision=COMMIT, device="cpu").render(ORDERS[:1]))

    def test_without_a_network_says_how_to_fetch_the_model(self) -> None:
        made = DiffusionRenderer(model="owner/name", revision=COMMIT, device="cpu")
        with pytest.raises(
            RenderError, match=rf"(?s)owner/name at {COMMIT}.*hf download owner/name --revision {COMMIT}"
        ):
            list(made.render(ORDERS[:1]))


def edit_weights(file: Path, layer: str, value: float) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    weights = safetensors.load_file(file)
    for name in weights:
        if name.startswith(layer):
            weights[name].fill_(value)
    safetensors.save_file(weights, file, metadata={"format": "pt"})
