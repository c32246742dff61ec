"""The texts of a row, for formats that teach them; in most, a tag in the text stands for an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mis_dataset.errors import DatasetError

_TAGS = re.compile(r"<(?:image|video|audio)>")


def response(row: Mapping[str, Any]) -> str:
    """What is to be learned.

    Raises:
        DatasetError: the row has no response.
    """
    if not row["response"]:
        raise DatasetError("a row cannot be learned from:", [f"{row['id']}: it has no response; export other subsets"])
    return str(row["response"])


def tagged_question(row: Mapping[str, Any], tag: str) -> str:
    """The question behind one tag per image.

    Raises:
        DatasetError: the question has such tags already, which the tool would take for further images.
    """
    return tag * len(row["images"]) + _without_tags(row, "question", row["question"])


def tagged_response(row: Mapping[str, Any]) -> str:
    """What is to be learned, where the tool takes tags in it for images.

    Raises:
        DatasetError: the row has no response, or one with tags.
    """
    return _without_tags(row, "response", response(row))


def _without_tags(row: Mapping[str, Any], column: str, text: str) -> str:
    if found := _TAGS.search(text):
        problem = f"{row['id']}: its {column} has {found[0]}, which stands for a file there; reword it"
        raise DatasetError("a row cannot be exported:", [problem])
    return text
