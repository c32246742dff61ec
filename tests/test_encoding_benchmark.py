"""The benchmark of encodings compares what can be compared: nothing is lost, and every encoding is in the table."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from benchmarks.encoding import ENCODINGS, encoded, table
from mis_dataset.seeds import stable_random

NOISE = Image.frombytes("RGB", (32, 32), stable_random("encoding").randbytes(32 * 32 * 3))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_encoding_loses_anything(encoding: str):
    with Image.open(io.BytesIO(encoded(NOISE, encoding))) as file:
        assert file.convert("RGB").tobytes() == NOISE.tobytes()


def test_the_table_has_a_line_for_each():
    head, _, *lines = table({"noise": [NOISE], "more noise": [NOISE]}, repeats=1)
    assert head == "| encoding | noise: ms | kB | more noise: ms | kB |"
    assert [line.split(" | ")[0] for line in lines] == [f"| {encoding}" for encoding in ENCODINGS]
    # Noise cannot be made smaller: every file is at least as large as what it holds.
    assert all(int(line.split(" | ")[2]) >= 3 for line in lines)
