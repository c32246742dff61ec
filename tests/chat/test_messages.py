"""A request's messages as JSON, and the images in them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mis_dataset.chat import jpeg_part, text_part
from mis_dataset.chat.messages import encoded


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.effect_noise((64, 64), 60).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def conversation(picture: Path) -> list[dict[str, object]]:
    return [
        {"role": "system", "content": 'ünïcode "quotes" \\ \n \0'},
        {"role": "user", "content": [text_part('"'), jpeg_part(picture, 64, 90), text_part("ü"), text_part("")]},
        {"role": "user", "content": [], "name": "nobody"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": 'https://h/"', "detail": "low"}}]},
    ]


@pytest.mark.parametrize("count", range(5))
def test_it_is_the_json_that_json_would_write(picture: Path, count: int):
    messages = conversation(picture)[:count]
    assert encoded(messages) == json.dumps(messages, ensure_ascii=False, sort_keys=True).encode()


def test_in_brief_an_image_is_named_by_what_is_in_it(picture: Path):
    messages, other = conversation(picture), picture.with_name("other.png")
    brief = encoded(messages, is_brief=True)
    assert len(brief) < 1000 < len(encoded(messages))
    assert json.loads(brief)[0] == messages[0]
    other.write_bytes(picture.read_bytes())
    assert encoded(conversation(other), is_brief=True) == brief
    Image.effect_noise((64, 64), 60).save(other)
    assert encoded(conversation(other), is_brief=True) != brief


def test_an_image_is_made_once(picture: Path):
    once = jpeg_part(picture, 64, 90)["image_url"]["url"]
    assert jpeg_part(picture, 64, 90)["image_url"]["url"] is once
    assert jpeg_part(picture, 32, 90)["image_url"]["url"] != once
    assert jpeg_part(picture, 64, 50)["image_url"]["url"] != once


def test_a_file_that_changed_is_read_anew(picture: Path):
    before = jpeg_part(picture, 64, 90)
    Image.new("RGB", (64, 64), "red").save(picture)
    assert jpeg_part(picture, 64, 90) != before
