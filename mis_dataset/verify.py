"""Verify: make some of a dataset's images again from what it says of them, and compare."""

from __future__ import annotations

import gc
import hashlib
import io
import re
import tomllib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from mis_dataset.assemble.layout import CONFIGS, MANIFEST, RECIPE, matching
from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.assemble.parquet import read_groups
from mis_dataset.backends import find_backend, make_backend
from mis_dataset.errors import DatasetError, RenderError, UsageError
from mis_dataset.imagehash import hamming, perceptual_hash
from mis_dataset.options import local_path, options_schema
from mis_dataset.recipe_checks import recipe_schema
from mis_dataset.records import ORDINALS, Rejected
from mis_dataset.render import Drawing, DrawOrder, Renderer
from mis_dataset.seeds import stable_random

MAX_BITS = 6
"""Of 64 bits of the perceptual hash, how many may differ in an image that a GPU drew."""
MIN_PSNR = 25.0
"""Decibels by which an image that a GPU drew has to resemble its copy, at the least."""

_PLACES = {"render": "model", "real": "corpus"}
"""Which setting of a recipe's table says where on a machine its images come from."""

Outcome = Literal["identical", "close", "differs", "damaged", "not made again"]


@dataclass(frozen=True)
class Verified:
    """What became of one image."""

    where: str
    """Its row's id and its place in the question."""
    outcome: Outcome
    detail: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing speaks against it; a photograph that could not be found again is not held against it."""
        return self.outcome not in ("differs", "damaged")

    def __str__(self) -> str:
        return f"{self.where}: {self.outcome}{f', {self.detail}' if self.detail else ''}"


@dataclass(frozen=True)
class _Sampled:
    """An image of the dataset and its record."""

    row: str
    place: int
    subset: str
    data: bytes
    """As published."""
    record: Mapping[str, Any]
    """As ``provenance.schema.json`` has it."""

    @property
    def where(self) -> str:
        return f"{self.row}, {ORDINALS[self.place]} image ({self.record['object']})"

    @property
    def order(self) -> DrawOrder:
        return DrawOrder(self.record["object"], self.record["prompt"], self.record["seed"])

    @property
    def table(self) -> str:
        """The recipe's table that names who made it."""
        return "real" if self.subset == "real" else "render"

    @property
    def maker(self) -> str:
        """The model or corpus that made it, and its version."""
        return f"{self.record['model']} {self.record['revision']}"


def verify(directory: Path, sample: int, *, model: str | None = None, corpus: str | None = None) -> Iterator[Verified]:
    """Make ``sample`` images again with the recorded backend, prompt, seed and batch size, and compare each.

    An image drawn on a CPU has to be identical to the last pixel where it is drawn again on a CPU of that kind, by the
    same versions and in the same way. Any other may differ a little, as drivers and cards do: by at most `MAX_BITS` of
    its perceptual hash, and with a PSNR of `MIN_PSNR` decibels at the least. Photographs are found again if their
    corpus is there.

    Args:
        directory: the dataset's.
        sample: how many images; the same ones at every call.
        model: the folder of the renderer's model; a dataset knows such a folder by its name alone. It may also hold
            what the dataset has from the Hub: a commit cannot be told from a folder's files, so the pixels decide.
        corpus: the photographs that rows of ``real`` were taken from.

    Raises:
        DatasetError: there is no dataset in the directory, or what it says of its images cannot be read.
        UsageError: the recipe's renderer cannot be made here, takes no such place, or has another model.
        RenderError: it cannot draw.
    """
    manifest = read_manifest(directory)
    recipe, places = _recipe(directory), {"render": model, "real": corpus}
    for table, place in places.items():
        if place is not None:
            _check_place(recipe, table, place)
    groups: dict[tuple[Any, ...], list[_Sampled]] = defaultdict(list)
    for image in _sampled(directory, manifest, sample):
        if hashlib.sha256(image.data).hexdigest() != image.record["sha256"]:
            yield Verified(image.where, "damaged", "its bytes are not those that its provenance names")
        elif image.record["seed"] is None:
            yield Verified(image.where, "not made again", "its seed is not known; its bytes are as recorded")
        else:
            # What is drawn together again was drawn in batches of the same size, on the same kind of device.
            groups[image.table, *(image.record[key] for key in ("batch", "device", "dtype"))].append(image)
    for (table, *_), images in groups.items():
        place = places[table]
        for image, drawn in zip(images, _drawn(images, recipe, table, place), strict=True):
            yield _named(image) if drawn is None else _compared(image, drawn, is_placed=place is not None)
        # A pipeline and the prompts that it remembers hold on to each other, and two models may not fit.
        gc.collect()


def _drawn(
    images: Sequence[_Sampled], recipe: Mapping[str, Any], table: str, place: str | None
) -> Iterator[Drawing | Rejected | None]:
    """What the recipe's renderer makes of the images; None for photographs whose corpus is not there, or not whole."""
    left = len(images)
    try:
        renderer = _renderer(recipe, table, images[0].record, place)
        for drawn in renderer.render([image.order for image in images]):
            left -= 1
            yield drawn
    except (RenderError, UsageError):
        if table != "real":
            raise
        yield from [None] * left


def _named(image: _Sampled) -> Verified:
    source = image.record["source"] or "an unnamed source"
    return Verified(image.where, "not made again", f"a photograph from {source}; its bytes are as recorded")


def _compared(image: _Sampled, drawn: Drawing | Rejected, *, is_placed: bool) -> Verified:
    """Hold an image against its copy; ``is_placed``: someone said where the copy's maker is."""
    if isinstance(drawn, Rejected):
        return Verified(image.where, "differs", f"it comes out as {drawn.reason}: {drawn.detail}")
    if drawn.revision == image.record["revision"]:
        return _alike(image, drawn)
    is_commit = re.fullmatch(r"[0-9a-f]{40}", image.record["revision"])
    # A folder that somebody named may be a download of that commit, which its files do not say.
    if not (is_placed and is_commit):
        raise UsageError(
            f"{image.where} was made by {image.maker}, but here is {drawn.model} {drawn.revision}; name the folder or "
            f"corpus of that very version with --{_PLACES[image.table]}"
        )
    found = _alike(image, drawn)
    note = f"made again from the folder {drawn.model} in place of {image.maker}"
    return replace(found, detail=f"{found.detail}; {note}" if found.detail else note)


def _alike(image: _Sampled, drawn: Drawing) -> Verified:
    with Image.open(io.BytesIO(image.data)) as file:
        published = file.convert("RGB")
    if published.size != drawn.image.size:
        return Verified(image.where, "differs", f"it is {published.size} pixels large, its copy {drawn.image.size}")
    ratio = psnr(published, drawn.image)
    if ratio == np.inf:
        return Verified(image.where, "identical")
    bits = hamming(perceptual_hash(published), perceptual_hash(drawn.image))
    detail = f"PSNR {ratio:.1f} dB, {bits} of 64 bits of the perceptual hash"
    is_exact = {image.record["device"], drawn.device} == {"cpu"} and image.record["made_with"] == drawn.made_with
    is_close = bits <= MAX_BITS and ratio >= MIN_PSNR
    return Verified(image.where, "close" if is_close and not is_exact else "differs", detail)


def psnr(one: Image.Image, other: Image.Image) -> float:
    """The peak signal-to-noise ratio of two RGB images of one size, in decibels; infinite if they are equal."""
    difference = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    error = float(np.mean(difference**2))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def _renderer(recipe: Mapping[str, Any], table: str, record: Mapping[str, Any], place: str | None) -> Renderer:
    """The renderer of a recipe's table, set up as it was for an image."""
    try:
        return _set_up(recipe, table, record, place)
    except (RenderError, UsageError) as error:
        remedy = f"\nIf its {_PLACES[table]} is a folder, say --{_PLACES[table]} FOLDER." if place is None else ""
        raise UsageError(f"the recipe's renderer cannot be made here: {error}{remedy}") from error


def _check_place(recipe: Mapping[str, Any], table: str, place: str) -> None:
    """Refuse a place that no renderer of the recipe would look at, or that is not there.

    Raises:
        UsageError: names the option.
    """
    key = _PLACES[table]
    if table not in recipe:
        raise UsageError(f"--{key} {place}: the recipe has no [{table}]; leave --{key} out")
    name = recipe[table]["backend"]
    if key not in _known(name):
        raise UsageError(f"--{key} {place}: the recipe's renderer, {name}, takes no {key}; leave --{key} out")
    if key == "model" and not local_path(place).exists():
        raise UsageError(f"--{key} {place}: there is no such folder")


def _known(name: str) -> Collection[str]:
    """The settings of a renderer."""
    settings: Mapping[str, Any] = options_schema(find_backend("render", name))["properties"]
    return settings.keys()


def _set_up(recipe: Mapping[str, Any], table: str, record: Mapping[str, Any], place: str | None) -> Renderer:
    settings = dict(recipe[table])
    name = settings.pop("backend")
    known = _known(name)
    options = {key: value for key, value in settings.items() if key in known}
    if place is not None:
        options[_PLACES[table]] = place
    if "batch_size" in known:
        options["batch_size"] = record["batch"]
    if "dtype" in known:
        options["dtype"] = record["dtype"]
    # Which GPU it was, where there were several, is nothing that this machine has to have.
    options.pop("device", None)
    if "device" in known and record["device"] == "cpu":
        options["device"] = "cpu"
    renderer: Renderer = make_backend("render", name, options)
    return renderer


def _recipe(directory: Path) -> dict[str, Any]:
    """The tables of the recipe that name who made images; the rest of it may want what is not here."""
    try:
        recipe = tomllib.loads((directory / RECIPE).read_text(encoding="utf-8"))
        own = {name: recipe_schema()["properties"][name]["properties"] for name in ("render", "real")}
        return {
            name: {key: value for key, value in recipe[name].items() if key == "backend" or key not in own[name]}
            for name in own
            if name == "render" or name in recipe
        }
    except (OSError, ValueError, KeyError) as error:
        problem = f"{RECIPE} cannot be used: {error!r}; only what `mis build` made can be made again"
        raise DatasetError(f"{directory} does not say how its images are made:", [problem]) from error


def _sampled(directory: Path, manifest: Mapping[str, Any], sample: int) -> list[_Sampled]:
    """Some images, chosen by the dataset's fingerprint, in the order of its files."""
    paths = list(manifest["files"])
    try:
        records = {
            (row["id"], place): record
            for path in _matching(paths, "provenance")
            for row in pq.read_table(directory / path, columns=["id", "images"]).to_pylist()
            for place, record in enumerate(row["images"])
        }
        chosen = stable_random("verify", manifest["fingerprint"]).sample(list(records), min(sample, len(records)))
        places: dict[str, list[int]] = defaultdict(list)
        for row, place in sorted(chosen):
            places[row].append(place)
        return [
            _Sampled(row["id"], place, row["subset"], row["images"][place]["bytes"], records[row["id"], place])
            for path in _matching(paths, "default")
            for group in read_groups(directory / path)
            for row in group.select(["id", "subset", "images"]).to_pylist()
            for place in places[row["id"]]
        ]
    except (OSError, ValueError, KeyError, IndexError) as error:
        problem = f"{error}; `mis validate {directory}` says what is wrong with its files"
        raise DatasetError(f"{directory} and its {MANIFEST} do not agree:", [problem]) from error


def _matching(paths: Sequence[str], config: str) -> list[str]:
    return [path for pattern in CONFIGS[config].values() for path in matching(paths, pattern)]
