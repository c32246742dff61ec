"""What goes into a request: images as JPEG, prompts from text files; and all of it as JSON."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from mis_dataset.errors import BackendError, StorageError

Message = Mapping[str, Any]
"""One entry of the request's ``messages``, or one part of its content."""

_KEPT_IMAGES = 256
"""A quarter of a megabyte each, or less; as many as two shards of 32 rows with four images show."""


def jpeg_part(path: Path, longest_side: int, quality: int) -> Message:
    """A message part with an image as JPEG, shrunk so that neither side is longer than ``longest_side`` pixels.

    The last few are kept: teacher, critics and judges are shown the images of a shard one after the other.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        state = path.stat()
        url = _jpeg_url(path, longest_side, quality, state.st_mtime, state.st_size)
    except OSError as error:
        raise StorageError(f"{path}: this image cannot be read ({error})") from error
    return _image_part(url)


def blank_part() -> Message:
    """A message part with a small grey image."""
    return _image_part(_url_of(Image.new("RGB", (64, 64), "grey"), 90))


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


def encoded(messages: Sequence[Message], *, is_brief: bool = False) -> bytes:
    """The messages as JSON, keys in order; images are most of it, and are not searched for what to escape.

    Args:
        messages: as the chat completions API takes them.
        is_brief: whether images are only named, by what is in them.
    """
    return b"".join(_list(_message(message, is_brief) for message in messages))


def _message(message: Message, is_brief: bool) -> Iterator[bytes]:
    if isinstance(message["content"], str):
        yield _json(message)
    else:
        yield b'{"content": '
        yield from _list(_part(part, is_brief) for part in message["content"])
        yield b", " + _json({key: value for key, value in message.items() if key != "content"})[1:]


def _part(part: Message, is_brief: bool) -> Iterator[bytes]:
    url = part.get("image_url", {}).get("url")
    if isinstance(url, _ImageUrl):
        yield from (b'{"image_url": {"url": "', (url.name if is_brief else url).encode(), b'"}, "type": "image_url"}')
    else:
        yield _json(part)


def _list(items: Iterable[Iterator[bytes]]) -> Iterator[bytes]:
    yield b"["
    for place, item in enumerate(items):
        yield b", " if place else b""
        yield from item
    yield b"]"


def _json(value: Message) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()


def _image_part(url: str) -> Message:
    return {"type": "image_url", "image_url": {"url": url}}


class _ImageUrl(str):
    """A data URL, in which JSON has nothing to escape."""

    name: str
    """SHA-256 of the image."""


@lru_cache(maxsize=_KEPT_IMAGES)
def _jpeg_url(path: Path, longest_side: int, quality: int, *_state: float) -> _ImageUrl:
    with path.open("rb") as stream, Image.open(stream) as image:
        picture = image.convert("RGB")
    picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    return _url_of(picture, quality)


def _url_of(picture: Image.Image, quality: int) -> _ImageUrl:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    url = _ImageUrl("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode())
    url.name = hashlib.sha256(buffer.getvalue()).hexdigest()
    return url


@cache
def _template(path: Path) -> Template:
    return Template(path.read_text(encoding="utf-8").strip())
