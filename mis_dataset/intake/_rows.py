"""From what others wrote to records: every image decoded, every row named by its content."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image, UnidentifiedImageError

from mis_dataset.imagehash import perceptual_hash
from mis_dataset.intake._entry import Entry
from mis_dataset.intake._files import Files, Found
from mis_dataset.records import ImageSpec, Label, Origin, Picture, Scenario, Screened
from mis_dataset.seeds import stable_digest


@dataclass(frozen=True)
class Whole(Label):
    """A label as others wrote it, as ``raw``; it was never taken apart."""

    @property
    def response(self) -> str:
        """The label; empty if the row has none."""
        return self.raw


@dataclass(frozen=True)
class Taken:
    """A row as a record, and its images."""

    record: Screened
    """Without places of its pictures: those are the images'."""
    images: tuple[Found, ...]
    where: str
    """How a message names it."""

    def read(self) -> list[bytes]:
        """The encoded images, in order.

        Raises:
            OSError: one cannot be read any more.
        """
        return [image.read() for image in self.images]


def take(entries: Sequence[Entry], files: Files) -> list[Taken]:
    """The rows as records, in their order; an image that cannot be decoded is noted, and its row left out.

    The id of a row is a digest of its subset, its words and its images: it stays the same wherever the row lies and
    however it is numbered. A row that is there again with the same content gets the next id of the same content.
    """
    seen: Counter[str] = Counter()
    taken = []
    for entry, pictures in _pictures(entries, files):
        if len(pictures) == len(entry.images):
            digests = [picture.sha256 for picture in pictures]
            content = stable_digest("imported", entry.subset, entry.question, entry.response, *digests)
            seen[content] += 1
            name = content if seen[content] == 1 else stable_digest(content, seen[content])
            taken.append(Taken(_record(f"mis-{name[:16]}", entry, tuple(pictures)), entry.images, entry.where))
    return taken


def _pictures(entries: Sequence[Entry], files: Files) -> Iterator[tuple[Entry, list[Picture]]]:
    """Each row with those of its images that can be decoded; the others are noted."""
    # Pillow frees the interpreter while it decodes. Rows are handed out a few at a time, for the sake of memory.
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(entries), 64):
            some = entries[start : start + 64]
            images = [image for entry in some for image in entry.images]
            results = iter(list(pool.map(_picture, images)))
            for entry in some:
                found = [next(results) for _ in entry.images]
                for image, result in zip(entry.images, found, strict=True):
                    if isinstance(result, str):
                        files.note(entry.where, f"the image {image.name} is broken: {result}; fetch it again")
                yield entry, [result for result in found if not isinstance(result, str)]


def _picture(found: Found) -> Picture | str:
    """What is known of an image, or why it cannot be decoded."""
    try:
        data = found.read()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            phash, (width, height) = perceptual_hash(image), image.size
    except UnidentifiedImageError:
        return "it is no image, or of a kind that is not known"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error)
    return Picture(
        path=PurePosixPath(found.name).name,
        sha256=hashlib.sha256(data).hexdigest(),
        phash=phash,
        width=width,
        height=height,
        prompt="",
        negative_prompt="",
        seed=0,
        attempt=0,
        model="",
        revision="",
        steps=None,
        guidance=None,
        scheduler="",
        device="",
        dtype="",
        batch=1,
        source=found.name,
    )


def _record(name: str, entry: Entry, pictures: tuple[Picture, ...]) -> Screened:
    scenario = Scenario(
        id=name,
        family=name,
        twin_id=None,
        category=entry.category,
        sub_category=entry.sub_category,
        subset=entry.subset,
        intent=entry.intent,
        relation="",
        question=entry.question,
        images=(ImageSpec("", "", harmful=False),) * len(pictures),
        rationale="",
        reply="",
        origin=Origin(entry.file, entry.row),
    )
    label = Whole((), "", "", teacher="", revision="", raw=entry.response, prompt_tokens=0, completion_tokens=0)
    return Screened(scenario, pictures, label, ())
