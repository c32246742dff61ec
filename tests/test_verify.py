"""Images made again from what a dataset says of them."""

from __future__ import annotations

import gc
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from lab import Album
from PIL import Image
from recipes import tiny, tiny_text

from mis_dataset.cli.verify import verify as command
from mis_dataset.errors import DatasetError, MisError, RenderError, UsageError
from mis_dataset.options import option
from mis_dataset.pipeline import build
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.seeds import stable_random
from mis_dataset.verify import psnr, verify

_DRAWN: set[tuple[object, ...]] = set()
_VERSIONS = count(1)


@dataclass(frozen=True, kw_only=True)
class Wobbly:
    """Draws noise, and draws it lighter from the second time on."""

    shade: int = option(1, "How much lighter, of 255.")
    device: str = option("cuda", "What it says it draws on.")
    aged: bool = option(False, "Whether its libraries have another version each time.")
    fails_after: int = option(1000, "So many images, where it is told to fail.")

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        if self.device == os.environ.get("MISSING_DEVICE"):
            raise RenderError(f"there is no {self.device}")
        made_with = f"version {next(_VERSIONS)}" if self.aged else ""
        for number, order in enumerate(orders):
            if number == self.fails_after and "FAILING" in os.environ:
                raise RenderError("it is tired")
            key = (self, order.seed)
            lighter = self.shade if key in _DRAWN else 0
            _DRAWN.add(key)
            noise = bytes(value // 2 + lighter for value in stable_random(order.seed).randbytes(64 * 64 * 3))
            image = Image.frombytes("RGB", (64, 64), noise)
            yield Drawing(image, model="wobbly", revision="1", device=self.device, made_with=made_with)


@dataclass(frozen=True, kw_only=True)
class Tinted:
    """Draws with a model, whose revision is that of the Hub, or some digest where it is a folder."""

    model: str = option(doc="A revision, or a folder.", path=True)

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        folder = Path(self.model)
        name, revision = (folder.name, "digest:2") if folder.is_dir() else ("tinted", self.model)
        for order in orders:
            noise = stable_random(order.seed).randbytes(64 * 64 * 3)
            yield Drawing(Image.frombytes("RGB", (64, 64), noise), model=name, revision=revision)


class Weights:
    """What a model takes of memory; it holds on to itself, as a pipeline does."""

    name = "heavy"
    loaded: ClassVar[WeakSet[Weights]] = WeakSet()

    def __init__(self) -> None:
        self.itself = self
        self.loaded.add(self)


@dataclass(frozen=True, kw_only=True)
class Heavy:
    """Loads weights to draw; every second image says that it was drawn in another batch."""

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        weights = Weights()
        if "ALONE" in os.environ and len(Weights.loaded) > 1:
            raise RenderError("memory is short")
        for order in orders:
            noise = stable_random(order.seed).randbytes(64 * 64 * 3)
            batch = 1 + order.seed % 2
            yield Drawing(Image.frombytes("RGB", (64, 64), noise), model=weights.name, revision="1", batch=batch)


@dataclass(frozen=True, kw_only=True)
class TornAlbum(Album):
    """Finds a photograph, and then its corpus is gone."""

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        for number, drawing in enumerate(super().render(orders)):
            if number and "TORN" in os.environ:
                raise RenderError("the corpus changed while it was in use")
            yield drawing


def built(folder: Path, renderer: str = '"pictogram"\nsize = 64', quotas: str = "", real: str = "") -> Path:
    folder.mkdir()
    text = tiny_text().replace('"pictogram"\nsize = 64', renderer)
    if quotas:
        head, _, tail = text.partition("[quotas]")
        text = f"{head}[quotas]\n{quotas}\n{real}\n[compose]{tail.partition('[compose]')[2]}"
    build(tiny(folder, text), folder / "mis", folder / "work")
    return folder / "mis"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("verify") / "drawn")


@pytest.fixture(scope="module")
def photographed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    quotas = 'hard = { "Drug-Related Offenses" = 2 }\nreal = { "Drug-Related Offenses" = 2 }'
    folder = tmp_path_factory.mktemp("real") / "photographs"
    return built(folder, quotas=quotas, real='[real]\nbackend = "lab:Album"\n')


def with_records(dataset: Path, copy: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy whose provenance says something else of every image."""
    shutil.copytree(dataset, copy)
    for path in (copy / "provenance").iterdir():
        table = pq.read_table(path)
        rows = table.to_pylist()
        for row in rows:
            for image in row["images"]:
                change(image)
        pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    return copy


def outcomes(dataset: Path, sample: int = 4, **where: str) -> set[str]:
    return {one.outcome for one in verify(dataset, sample, **where)}


def records(dataset: Path) -> list[dict[str, Any]]:
    """What the provenance says of each image."""
    rows = (row for path in sorted(dataset.glob("provenance/*")) for row in pq.read_table(path).to_pylist())
    return [image for row in rows for image in row["images"]]


def mis_verify(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_an_embedded_dataset_is_what_it_says(drawn: Path):
    found = list(verify(drawn, 1000))
    assert len(found) == len(records(drawn))
    assert {one.outcome for one in found} == {"identical"}


def test_the_same_images_are_looked_at_each_time(drawn: Path):
    assert [one.where for one in verify(drawn, 3)] == [one.where for one in verify(drawn, 3)]


def test_another_seed_draws_another_image(drawn: Path, tmp_path: Path):
    copy = with_records(drawn, tmp_path / "mis", lambda image: image.update(seed=image["seed"] + 1))
    assert outcomes(copy) == {"differs"}


def test_bytes_that_are_not_the_recorded_ones_are_not_drawn_again(drawn: Path, tmp_path: Path):
    assert outcomes(with_records(drawn, tmp_path / "mis", lambda image: image.update(sha256="0" * 64))) == {"damaged"}


def test_an_object_that_cannot_be_drawn_any_more(drawn: Path, tmp_path: Path):
    copy = with_records(drawn, tmp_path / "mis", lambda image: image.update(object="a zzyzx"))
    assert {"no_icon" in one.detail for one in verify(copy, 2)} == {True}


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [("shade = 0", "identical"), ("shade = 4", "close"), ("shade = 40", "differs"), ('device = "cpu"', "differs")],
)
def test_a_gpu_may_differ_a_little_and_a_cpu_may_not(tmp_path: Path, settings: str, outcome: str):
    dataset = built(tmp_path / "wobbly", f'"test_verify:Wobbly"\n{settings}')
    assert outcomes(dataset) == {outcome}


def test_on_a_cpu_other_versions_may_differ_a_little(tmp_path: Path):
    # As may an image whose VAE decoded in tiles, for want of memory.
    assert outcomes(built(tmp_path / "wobbly", '"test_verify:Wobbly"\ndevice = "cpu"\naged = true')) == {"close"}


def test_the_gpu_that_drew_does_not_have_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset = built(tmp_path / "wobbly", '"test_verify:Wobbly"\nshade = 0\ndevice = "cuda:1"')
    monkeypatch.setenv("MISSING_DEVICE", "cuda:1")
    assert outcomes(dataset) == {"identical"}


def test_one_model_is_gone_before_the_next_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset = built(tmp_path / "heavy", '"test_verify:Heavy"')
    gc.collect()
    monkeypatch.setenv("ALONE", "1")
    assert outcomes(dataset, 8) == {"identical"}


def test_images_of_a_model_are_drawn_again(tiny_model: Path, tmp_path: Path):
    settings = 'steps = 2\nwidth = 64\nheight = 64\ndevice = "cpu"'
    quotas = 'hard = { "Drug-Related Offenses" = 1 }'
    dataset = built(tmp_path / "diffusion", f'"diffusion"\nmodel = "{tiny_model}"\n{settings}', quotas)
    assert outcomes(dataset, 3, model=str(tiny_model)) == {"identical"}
    # The folder's place is not published, so it is not found without being named.
    with pytest.raises(UsageError, match=r"(?s)there is no folder .*If its model is a folder, say --model FOLDER"):
        outcomes(dataset, 3)


def test_a_folder_that_is_named_may_stand_in_for_a_commit_of_the_hub(tmp_path: Path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    dataset = built(tmp_path / "tinted", f'"test_verify:Tinted"\nmodel = "{commit}"')
    (tmp_path / "there").mkdir()
    found = list(verify(dataset, 3, model=str(tmp_path / "there")))
    note = f"made again from the folder there in place of tinted {commit}"
    assert {(one.outcome, one.detail) for one in found} == {("identical", note)}


def test_a_folder_does_not_stand_in_for_another_folder(tmp_path: Path):
    dataset = built(tmp_path / "tinted", '"test_verify:Tinted"\nmodel = "digest:1"')
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match=r"made by tinted digest:1, but here is there .* with --model"):
        outcomes(dataset, 3, model=str(tmp_path / "there"))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"model": "models/sd3"}, r"--model models/sd3: the recipe's renderer, pictogram, takes no model; leave"),
        ({"corpus": "photos"}, r"--corpus photos: the recipe has no \[real\]; leave --corpus out"),
    ],
)
def test_a_place_at_which_nobody_looks_is_a_mistake(drawn: Path, where: dict[str, str], message: str):
    with pytest.raises(UsageError, match=message):
        outcomes(drawn, **where)


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path):
    dataset = built(tmp_path / "tinted", '"test_verify:Tinted"\nmodel = "digest:1"')
    with pytest.raises(UsageError, match=r"--model models/nope: there is no such folder"):
        outcomes(dataset, model="models/nope")


def test_another_model_is_not_mistaken_for_the_one_that_drew(tiny_model: Path, drawn: Path, tmp_path: Path):
    copy = with_records(drawn, tmp_path / "mis", lambda image: image.update(revision="mdi-6"))
    with pytest.raises(UsageError, match=r"was made by pictogram mdi-6, but here is pictogram mdi-7"):
        outcomes(copy)


class TestPhotographs:
    def test_are_found_again(self, photographed: Path):
        assert outcomes(photographed, 100) == {"identical"}

    def test_whose_finder_is_not_here_are_named(self, photographed: Path, tmp_path: Path):
        copy = shutil.copytree(photographed, tmp_path / "mis")
        recipe = copy / "recipe.toml"
        recipe.write_text(recipe.read_text().replace("lab:Album", "elsewhere:Album"))
        found = {one.outcome: str(one) for one in verify(copy, 100)}
        assert found.keys() == {"identical", "not made again"}
        assert "a photograph from a" in found["not made again"]

    def test_whose_corpus_fails_half_way_are_named_from_there_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        quotas = 'hard = { "Drug-Related Offenses" = 2 }\nreal = { "Drug-Related Offenses" = 2 }'
        dataset = built(tmp_path / "torn", quotas=quotas, real='[real]\nbackend = "test_verify:TornAlbum"\n')
        monkeypatch.setenv("TORN", "1")
        found = Counter(one.outcome for one in verify(dataset, 1000))
        made_by = Counter(image["model"] for image in records(dataset))
        assert found == {"identical": made_by["pictogram"] + 1, "not made again": made_by["album"] - 1}


class TestCommand:
    def test_says_how_many_are_identical(self, drawn: Path):
        result = mis_verify(drawn, "--sample", 5)
        *each, last = result.output.splitlines()
        assert (result.exit_code, last) == (0, f"5 images of {drawn} looked at: 5 identical")
        assert [line.partition(".")[0] for line in each] == ["1", "2", "3", "4", "5"]
        assert all(line.endswith(": identical") for line in each)

    def test_tells_each_image_as_it_comes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        quotas = 'hard = { "Drug-Related Offenses" = 2 }'
        dataset = built(tmp_path / "wobbly", '"test_verify:Wobbly"\nfails_after = 2', quotas)
        monkeypatch.setenv("FAILING", "1")
        result = mis_verify(dataset, "--sample", 4)
        assert isinstance(result.exception, RenderError)
        assert [line.partition(".")[0] for line in result.output.splitlines()] == ["1", "2"]

    def test_fails_for_images_that_differ(self, drawn: Path, tmp_path: Path):
        copy = with_records(drawn, tmp_path / "mis", lambda image: image.update(seed=0))
        error = mis_verify(copy, "--sample", 2).exception
        assert isinstance(error, MisError)
        assert (error.exit_code, "2 of 2 images" in str(error)) == (1, True)

    def test_a_directory_without_a_dataset_is_a_mistake(self, tmp_path: Path):
        error = mis_verify(tmp_path).exception
        assert isinstance(error, DatasetError)
        assert error.exit_code == 2

    def test_a_recipe_that_is_no_toml_is_named(self, drawn: Path, tmp_path: Path):
        copy = shutil.copytree(drawn, tmp_path / "mis")
        (copy / "recipe.toml").write_text("render = ")
        with pytest.raises(DatasetError, match=r"recipe\.toml cannot be used"):
            outcomes(copy)


def test_psnr_is_that_of_the_textbook():
    # One value of 8 bits off by 1 everywhere: 20 log10(255).
    grey, lighter = Image.new("RGB", (8, 8), (100, 100, 100)), Image.new("RGB", (8, 8), (101, 101, 101))
    assert psnr(grey, lighter) == pytest.approx(48.13, abs=0.01)
    assert psnr(grey, grey) == float("inf")


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    return pytest.importorskip("tiny_pipelines", reason="needs the extra 'diffusion'").tiny_sd3(tmp_path / "tiny")
