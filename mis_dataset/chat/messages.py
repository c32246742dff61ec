"""What goes into a request: images as JPEG, prompts from text files."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from mis_dataset.errors import BackendError, StorageError

Message = Mapping[str, Any]
"""One entry of the request's ``messages``, or one part of its content."""


def jpeg_part(path: Path, longest_side: int, quality: int) -> Message:
    """A message part with an image as JPEG, shrunk so that neither side is longer than ``longest_side`` pixels.

    Raises:
        StorageError: the file cannot be read.
    """
    buffer = io.BytesIO()
    try:
        with path.open("rb") as stream, Image.open(stream) as image:
            picture = image.convert("RGB")
    except OSError as error:
        raise StorageError(f"{path}: this image cannot be read ({error})") from error
    picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    picture.save(buffer, "JPEG", quality=quality)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded}"}}


def text_part(text: str) -> Message:
    """A message part with a text."""
    return {"type": "text", "text": text}


def fill_prompt(path: Path, **values: object) -> str:
    """Fill the ``$variables`` of a prompt file; dollars and braces in the values stay as they are.

    Raises:
        BackendError: the file's variables are not exactly the values given, or it is no valid template.
    """
    template = _template(path)
    if not template.is_valid() or set(template.get_identifiers()) != values.keys():
        wanted = ", ".join(f"${name}" for name in sorted(values))
        raise BackendError(f"{path}: this prompt has to use exactly the variables {wanted} (and $$ for a dollar)")
    return template.substitute(values)


def valid_unicode(text: str) -> str:
    """The text with lone surrogates, which no file can hold, replaced by ``?``."""
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def _template(path: Path) -> Template:
    return Template(path.read_text(encoding="utf-8").strip())
