"""From a model's text to a checked answer, forgiving of everything around the JSON and of nothing inside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from mis_dataset.chat import valid_unicode
from mis_dataset.records import Rejected
from mis_dataset.resources import resource

ANSWER_SCHEMA = resource("dataset_card", "schemas", "teacher_answer.schema.json")

_REFUSAL = re.compile(
    r"\W*((i['\u2019]?m|i am) ((very|so|really) )?sorry|sorry\b|i apologi[sz]e|unfortunately,? i\b"
    r"|i (can|could|will|do)(no|n['\u2019])?['\u2019]?t\b|i won['\u2019]?t\b|(i['\u2019]?m|i am) (not able|unable)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class TeacherAnswer:
    """A well-formed answer."""

    perception: tuple[str, ...]
    """One entry per image, in order; none is blank."""
    reasoning: str
    answer: str


@cache
def answer_schema() -> dict[str, Any]:
    """The JSON Schema of a teacher's answer."""
    schema: dict[str, Any] = json.loads(ANSWER_SCHEMA.read_text(encoding="utf-8"))
    return schema


def parse_answer(text: str, images: int) -> TeacherAnswer | Rejected:
    """Find the answer in a model's text.

    Prose, code fences and thinking around the JSON object are stripped, raw line breaks inside strings are accepted and
    keys that were not asked for are dropped. Of several objects the last complete one counts: models think first.

    Args:
        text: the model's words.
        images: how many perceptions there have to be.

    Returns:
        The answer, or a `Rejected` as ``refused`` (prose that declines to write at all) or ``malformed``; the detail of
        the latter tells a model what to mend.
    """
    schema = answer_schema()
    wanted = set(schema["required"])
    found = list(_objects(text))
    if not found:
        return _without_json(text)
    data = next((item for item in reversed(found) if wanted <= item.keys()), found[-1])
    data = {key: value for key, value in data.items() if key in wanted}
    if error := next(Draft202012Validator(schema).iter_errors(data), None):
        return Rejected("malformed", f"{error.json_path}: {error.message[:200]}")
    perception = tuple(_tidy(entry) for entry in data["perception"])
    if len(perception) != images:
        return Rejected("malformed", f"perception has {len(perception)} entries for {images} images")
    answer = TeacherAnswer(perception, _tidy(data["reasoning"]), _tidy(data["answer"]))
    if not all([*perception, answer.reasoning, answer.answer]):
        return Rejected("malformed", "one of its texts is blank")
    return answer


def _without_json(text: str) -> Rejected:
    if not text.strip():
        return Rejected("malformed", "it is empty")
    if _REFUSAL.match(text):
        return Rejected("refused", "the model declined to write a label")
    return Rejected("malformed", "it holds no complete JSON object")


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """Every JSON object in the text that is in no other."""
    decoder = json.JSONDecoder(strict=False)
    start = text.find("{")
    while start >= 0:
        try:
            item, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):  # no JSON, a number too long, or nesting too deep
            end = start + 1
        else:
            yield item
        start = text.find("{", end)


def _tidy(text: str) -> str:
    return valid_unicode(text).strip()
