"""What must hold of every row of a dataset, and between its rows."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from PIL import Image

from mis_dataset import policy
from mis_dataset.assemble.columns import conversation
from mis_dataset.records import prose, side_of
from mis_dataset.schema import lenient_schema, load_schema
from mis_dataset.taxonomy import taxonomy
from mis_dataset.validation.columns import TableChecker


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a dataset."""

    where: str
    """The id of a row, or the path of a file."""
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True)
class _Made:
    """What the provenance of a row says of its images and of its pair."""

    objects: list[str | None]
    """None where nobody said."""
    sha256: list[str]
    harmful: list[bool | None]
    """None where nobody said."""
    pair_id: str | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> _Made:
        objects, digests, harmful = ([one[key] for one in entry["images"]] for key in ("object", "sha256", "harmful"))
        return cls(objects, digests, harmful, entry["pair_id"])


@dataclass(frozen=True)
class _Row:
    """What has to be remembered of a row to compare it with others."""

    question: str
    intent: str
    subset: str
    twin_id: str | None


class RowChecker:
    """Checks rows as they pass, and remembers what must hold between them.

    Feed it all of the provenance, then all rows, then ask for `between_rows`.

    Args:
        imported: whether others made the dataset. Then much may be unknown, labels and names are theirs, and of the
            policy for what this package writes only the protection of minors holds.
    """

    def __init__(self, *, imported: bool = False) -> None:
        self._imported = imported
        self.rows: dict[str, _Row] = {}
        self._made: dict[str, _Made] = {}
        schema = lenient_schema if imported else load_schema
        self._row_checker = TableChecker(schema("row"))
        self._provenance_checker = TableChecker(schema("provenance"))
        self._malformed: set[str] = set()
        # By digest: why the image cannot be decoded, empty if it can.
        self._decoded: dict[str, str] = {}
        # By side of the split: an image's digest or a pair of objects, and the first row that has it.
        self._images: dict[str, dict[str, str]] = {"train": {}, "test": {}}
        self._pairs: dict[str, dict[tuple[str, str], str]] = {"train": {}, "test": {}}

    def provenance(self, table: pa.Table) -> Iterator[Problem]:
        """Check some rows of the config `provenance`."""
        for entry, problems in self._provenance_checker.rows(table):
            name = str(entry["id"])
            if problems:
                yield from (Problem(name, f"provenance: {problem}") for problem in problems)
            else:
                if name in self._made:
                    yield Problem(name, "has two entries in the provenance")
                self._made[name] = _Made.of(entry)

    def public_rows(self, table: pa.Table, subset: str) -> Iterator[Problem]:
        """Check some rows of a file of ``subset``."""
        well_formed: list[tuple[dict[str, Any], list[str]]] = []
        images: dict[str, bytes] = {}
        for row, problems in self._row_checker.rows(table):
            if problems:
                self._malformed.add(str(row["id"]))
                yield from (Problem(str(row["id"]), problem) for problem in problems)
            else:
                encoded = [image["bytes"] for image in row["images"]]
                digests = [hashlib.sha256(data).hexdigest() for data in encoded]
                images |= zip(digests, encoded, strict=True)
                well_formed.append((row, digests))
        self._decode(images)
        for row, digests in well_formed:
            yield from (Problem(row["id"], message) for message in self._row(row, subset, digests))

    def _row(self, row: Mapping[str, Any], subset: str, digests: list[str]) -> Iterator[str]:
        name, side = row["id"], side_of(row["subset"])
        if name in self.rows:
            yield "this id is used twice"
        self.rows[name] = _Row(row["question"], row["intent"], row["subset"], row["twin_id"])
        yield from _form(row, subset)
        yield from _foreign(row) if self._imported else _own(row)
        yield from self._pictures(row, digests)
        for digest in digests:
            self._images[side].setdefault(digest, name)
        for pair in itertools.combinations(sorted(row["objects"]), 2):
            self._pairs[side].setdefault(pair, name)

    def _decode(self, images: Mapping[str, bytes]) -> None:
        """Decode the images that were not met before; most of the work, for which Pillow frees the interpreter."""
        new = {digest: data for digest, data in images.items() if digest not in self._decoded}
        with ThreadPoolExecutor() as pool:
            self._decoded.update(zip(new, pool.map(_decoding_problem, new.values()), strict=True))

    def between_rows(self) -> Iterator[Problem]:
        """Check what must hold between rows, once all are read."""
        for name in sorted(self._made.keys() - self.rows.keys() - self._malformed):
            yield Problem(name, "has an entry in the provenance, but no row")
        for name, row in self.rows.items():
            for message in itertools.chain(self._twin(name, row), self._pair(name, row)):
                yield Problem(name, message)
        for digest in sorted(self._images["train"].keys() & self._images["test"].keys()):
            train, test = self._images["train"][digest], self._images["test"][digest]
            yield Problem(test, f"an image of this test row also occurs in train, in {train} (sha256 {digest})")
        for pair in sorted(self._pairs["train"].keys() & self._pairs["test"].keys()):
            train, test = self._pairs["train"][pair], self._pairs["test"][pair]
            yield Problem(test, f"{' with '.join(pair)}: this pair of a test row also occurs in train, in {train}")

    def _twin(self, name: str, row: _Row) -> Iterator[str]:
        if row.twin_id is None or row.twin_id in self._malformed:
            return
        twin = self.rows.get(row.twin_id)
        if twin is None:
            yield f"its twin {row.twin_id} does not exist"
            return
        if twin.twin_id != name:
            yield f"its twin {row.twin_id} names {twin.twin_id or 'no row'} as twin"
        if twin.question != row.question:
            yield f"its twin {row.twin_id} asks another question"
        if twin.intent == row.intent:
            yield f"its twin {row.twin_id} is {twin.intent} as well"
        if twin.subset != row.subset:
            yield f"its twin {row.twin_id} is in {twin.subset}, not in {row.subset}"

    def _pair(self, name: str, row: _Row) -> Iterator[str]:
        made = self._made.get(name)
        if made is None or made.pair_id is None or made.pair_id in self._malformed:
            return
        pair, pair_made = self.rows.get(made.pair_id), self._made.get(made.pair_id)
        if pair is None or pair_made is None:
            yield f"its pair {made.pair_id} does not exist"
            return
        if pair_made.pair_id != name:
            yield f"its pair {made.pair_id} names {pair_made.pair_id or 'no row'} as pair"
        if (pair.subset == "real") == (row.subset == "real"):
            yield f"its pair {made.pair_id} is in {pair.subset}, but one of the two, and one alone, belongs in real"
        if pair.question != row.question:
            yield f"its pair {made.pair_id} asks another question"
        if pair.intent != row.intent:
            yield f"its pair {made.pair_id} is {pair.intent}, not {row.intent}"
        if pair_made.objects != made.objects:
            yield f"its pair {made.pair_id} shows other objects"

    def _pictures(self, row: Mapping[str, Any], digests: list[str]) -> Iterator[str]:
        made = self._made.get(row["id"])
        if made is None:
            yield "has no entry in the provenance"
            return
        if [name for name in made.objects if name] != row["objects"]:
            yield f"objects are {row['objects']}, but in the provenance {made.objects}"
        harmful = row["intent"] == "harmful"
        if row["subset"] in ("hard", "real") and any(made.harmful):
            yield f"a {row['subset']} row has an image that is harmful in itself"
        if row["subset"] == "easy" and harmful and not any(made.harmful) and None not in made.harmful:
            yield "a harmful easy row has no image that is harmful in itself"
        if len(made.sha256) != len(digests):
            yield f"has {len(digests)} image{'s'[: len(digests) != 1]}, but {len(made.sha256)} in the provenance"
            return
        for number, (digest, expected) in enumerate(zip(digests, made.sha256, strict=True)):
            if digest != expected:
                yield f"images[{number}]: is not the one in the provenance (sha256 {expected})"
            if problem := self._decoded[digest]:
                yield f"images[{number}]: cannot be decoded: {problem}"


def _form(row: Mapping[str, Any], subset: str) -> Iterator[str]:
    """The row against its file and itself."""
    if row["subset"] != subset:
        yield f"subset is {row['subset']}, but it lies in a file of {subset}"
    if row["messages"] != conversation(row["question"], row["response"], len(row["images"])):
        yield "messages are not the question and the response"


def _own(row: Mapping[str, Any]) -> Iterator[str]:
    """A row of our own making: its parts fit together, its names are the taxonomy's, its texts keep to the policy."""
    sub_category = taxonomy().sub_categories.get(row["sub_category"])
    if sub_category is None:
        yield f"sub_category {row['sub_category']!r} is not in the taxonomy"
    elif sub_category.category != row["category"]:
        yield f"category is {row['category']!r}, but {sub_category.name!r} belongs to {sub_category.category!r}"
    if row["relation"] not in taxonomy().relations:
        yield f"relation {row['relation']!r} is not in the taxonomy"
    images, perception, objects = (len(row[key]) for key in ("images", "perception", "objects"))
    if not images == perception == objects:
        yield f"has {images} images, {perception} perceptions and {objects} objects"
    if row["response"] != prose(row["perception"], row["reasoning"], row["answer"]):
        yield "response is not perception, reasoning and answer as prose"
    texts = _texts(row)
    for key, text in texts.items():
        if excerpt := policy.operational_detail(text):
            yield f"{key}: operational detail: {excerpt!r}"
    if row["subset"] != "train" and (words := policy.intent_words(row["question"])):
        yield f"question: words that give the intent away: {', '.join(words)}"
    yield from _minors(texts)


def _foreign(row: Mapping[str, Any]) -> Iterator[str]:
    """A row that others made, as far as it is known."""
    images = len(row["images"])
    for key in ("perception", "objects"):
        if len(row[key]) not in (0, images):
            yield f"has {images} images and {len(row[key])} {key}"
    yield from _minors(_texts(row))


def _minors(texts: Mapping[str, str]) -> Iterator[str]:
    if policy.unsafe_for_minors(texts.values()):
        yield "words for minors and sexual words meet in this row"


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    """Every text of a row under a name that a message can use."""
    texts = {
        "question": row["question"],
        "response": row["response"],
        "reasoning": row["reasoning"],
        "answer": row["answer"],
        **{f"perception[{number}]": text for number, text in enumerate(row["perception"])},
        **{f"objects[{number}]": text for number, text in enumerate(row["objects"])},
    }
    return {key: text for key, text in texts.items() if text}


def _decoding_problem(data: bytes) -> str:
    """Why an image cannot be decoded; empty if it can."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error)
    return ""
