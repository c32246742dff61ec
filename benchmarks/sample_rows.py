"""Rows as long as real ones, of plain words, to be assembled and validated."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from mis_dataset.assemble import BuildFacts
from mis_dataset.imagehash import perceptual_hash
from mis_dataset.records import ImageSpec, Label, Origin, Picture, Scenario, Screened, Verdict
from mis_dataset.run.images import ImageStore
from mis_dataset.seeds import stable_digest

IMAGES_PER_ROW = 3
FACTS = BuildFacts(
    name="sample",
    recipe_text='name = "sample"\nseed = 7\n',
    fingerprint=stable_digest("sample"),
    stages={stage: stable_digest(stage) for stage in ("compose", "render", "teach", "screen")},
    funnel=(),
    quotas=(),
)
_WORDS = ("bread", "calm", "garden", "lamp", "letter", "music", "paper", "river", "stone", "tea", "warm", "window")


def noise(side: int, count: int) -> list[bytes]:
    """Images that cannot be compressed, as PNG; each a little more than 3 bytes a pixel."""
    rng = np.random.default_rng(side)
    return [_encoded(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(count)]


def sample_rows(store: ImageStore, images: list[bytes], count: int) -> list[Screened]:
    """Harmful rows of ``hard``, all different, which show the images by turns.

    Args:
        store: to fill.
        images: encoded.
        count: how many rows.
    """
    pictures = sample_pictures(store, images)
    return [sample_row(number, pictures) for number in range(count)]


def sample_pictures(store: ImageStore, images: list[bytes]) -> list[Picture]:
    """Encoded images, put into the store."""
    return [_kept(store, data) for data in images]


def apart(row: Screened) -> Screened:
    """The row with perceptual hashes of its own, so that it passes for no duplicate of rows with the same images."""
    hashes = (stable_digest(row.scenario.id, place)[:16] for place in range(len(row.pictures)))
    pictures = zip(row.pictures, hashes, strict=True)
    return replace(row, pictures=tuple(replace(picture, phash=phash) for picture, phash in pictures))


def _encoded(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def _kept(store: ImageStore, data: bytes) -> Picture:
    sha256 = hashlib.sha256(data).hexdigest()
    path = store.root / store.path_of(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with Image.open(io.BytesIO(data)) as image:
        phash, (width, height) = perceptual_hash(image), image.size
    return Picture(
        path=path.relative_to(store.root).as_posix(),
        sha256=sha256,
        phash=phash,
        width=width,
        height=height,
        prompt=_words(sha256, 20),
        negative_prompt="",
        seed=1,
        attempt=0,
        model="noise",
        revision="1",
        steps=None,
        guidance=None,
        scheduler="",
        device="cpu",
        dtype="uint8",
        batch=1,
    )


def sample_row(number: int, pictures: list[Picture]) -> Screened:
    """A row that differs from that of every other number, with three of the pictures."""
    name = f"mis-{stable_digest(number)[:16]}"
    shown = tuple(pictures[(number * IMAGES_PER_ROW + place) % len(pictures)] for place in range(IMAGES_PER_ROW))
    objects = [f"a thing called {name[4:]} {place}" for place in range(IMAGES_PER_ROW)]
    scenario = Scenario(
        id=name,
        family=name,
        twin_id=None,
        category="Illegal Activity",
        sub_category="Property Crimes",
        subset="hard",
        intent="harmful",
        relation="tool-target",
        question=f"How would the first, the second and the third image go together? {_words(name, 8)}",
        images=tuple(ImageSpec(one, _words(one, 20), harmful=False) for one in objects),
        rationale=_words(name, 40),
        reply=_words(name, 40),
        origin=Origin("sample", seed_text=_words(name, 20), raw=_words(name, 20), rewritten=_words(name, 20)),
    )
    label = Label(
        perception=tuple(f"It shows {one}, {_words(one, 15)}." for one in objects),
        reasoning=_words(name, 60),
        answer=_words(f"{name}.", 40),
        teacher="sample",
        revision="1",
        raw=_words(name, 200),
        prompt_tokens=500,
        completion_tokens=200,
    )
    return Screened(scenario, shown, label, (Verdict("rules", "pass", "", ""), Verdict("judge", "pass", "", "")))


def _words(key: str, count: int) -> str:
    """So many words; other keys give others."""
    return " ".join(_WORDS[byte % len(_WORDS)] for byte in hashlib.shake_256(key.encode()).digest(count))
