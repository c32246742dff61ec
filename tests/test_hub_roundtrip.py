"""What is pushed is what `datasets.load_dataset` reads back over HTTP, in a process without this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub import READER, WRITER, Hub
from huggingface_hub.utils import close_session
from samples import sample_dataset

from mis_dataset.publish import push

# `huggingface_hub` uploads in a way that its own HTTP library discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")

REPO = "lab/mis"

READ = """
import hashlib, json, sys
from datasets import load_dataset

def plain(value):  # images as digests of their pixels
    return hashlib.sha256(value.tobytes()).hexdigest() if hasattr(value, "tobytes") else value

def rows(**options):
    found = load_dataset(**options)
    return {
        split: [{key: [plain(item) for item in value] if key == "images" and "question" in row else value
                 for key, value in row.items()} for row in part]
        for split, part in found.items()
    }

print(json.dumps([rows(**options) for options in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("versions")
    return sample_dataset(folder / "first", families=6), sample_dataset(folder / "second", families=4)


@pytest.fixture
def hub(versions: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with two tagged versions of a private, gated dataset."""
    first, second = versions
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        push(first, REPO, tag="v1.0.0", token=WRITER)
        push(second, REPO, tag="v1.1.0", token=WRITER)
        yield hub
        close_session()


def read(home: Path, wanted: list[dict[str, Any]], token: str = "") -> subprocess.CompletedProcess[str]:
    """Load each of ``wanted`` in a process of its own, with its own caches, and print the rows as JSON."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_TOKEN": token, "HUGGING_FACE_HUB_TOKEN": ""}
    return subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps(wanted),
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_was_pushed_is_read_back(hub: Hub, versions: tuple[Path, Path], tmp_path: Path):
    first, second = map(str, versions)
    local = [{"path": second}, {"path": second, "name": "provenance"}, {"path": first, "name": "easy"}]
    on_hub = [
        {"path": REPO},
        {"path": REPO, "name": "provenance"},
        # The second version has no such rows; the tag of the first does.
        {"path": REPO, "name": "easy", "revision": "v1.0.0"},
    ]
    done = read(tmp_path, [*local, *on_hub, {"path": REPO, "streaming": True}], READER)
    assert done.returncode == 0, done.stderr
    *loaded, streamed = json.loads(done.stdout)
    assert loaded[3:] == loaded[:3]
    assert streamed == loaded[0]
    assert {split: len(rows) for split, rows in streamed.items()} == {"train": 3, "test": 4}


@pytest.mark.parametrize(("private", "words"), [(True, "cannot be accessed"), (False, "is a gated dataset")])
def test_strangers_cannot_read_it(hub: Hub, tmp_path: Path, private: bool, words: str):
    hub.repositories[REPO].private = private
    done = read(tmp_path, [{"path": REPO}])
    assert done.returncode != 0
    assert words in done.stderr.splitlines()[-1]
