"""``docs/duplicate.md`` from its first line to its last, with a Hub on this machine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner
from hub import READER, WRITER, Hub
from huggingface_hub.utils import close_session
from recipes import tiny

from mis_dataset.cli import cli
from mis_dataset.pipeline import build
from mis_dataset.publish import push
from mis_dataset.recipe import recipe_schema

# `huggingface_hub` uploads in a way that its own HTTP library discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")

PAGE = (Path(__file__).parents[1] / "docs" / "duplicate.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub that has ``some-lab/mis``."""
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
        build(tiny(tmp_path), tmp_path / "original" / "mis", tmp_path / "original" / "work")
        push(tmp_path / "original" / "mis", "some-lab/mis")
        yield hub
        close_session()


def _run(line: str) -> None:
    name, *arguments = shlex.split(line)
    if name == "mis":
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == (1 if arguments[0] == "diff" else 0), result.output  # 1: they differ
    else:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        subprocess.run([name, *arguments], env={**os.environ, "PATH": path, "HF_TOKEN": READER}, check=True)


def _changed(recipe: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    nested = {key: _changed(recipe.get(key, {}), value) for key, value in changes.items() if isinstance(value, dict)}
    return recipe | changes | nested


def test_the_walk_through_works(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for kind, text in BLOCKS:
        if kind == "console":
            for line in text.splitlines():
                _run(line.removeprefix("$ "))
        elif kind == "toml":
            path = folder / "mine.toml"
            path.write_text(tomli_w.dumps(_changed(tomllib.loads(path.read_text()), tomllib.loads(text))))
        else:
            exec(compile(text, "duplicate.md", "exec"), {})
    mine = hub.repositories["my-lab/mine"]
    assert mine.private
    assert mine.gated
    assert list(mine.tags) == ["v1.0.0"]
    assert b'name = "mine"' in mine.files["recipe.toml"].data
    assert mine.files["README.md"].data.startswith(b"---\n")
    assert b"Mine: multi-image safety" in mine.files["croissant.json"].data
    theirs = hub.repositories["some-lab/mis"]
    assert mine.files["data/train-00000-of-00001.parquet"] != theirs.files["data/train-00000-of-00001.parquet"]


def test_every_key_that_it_names_is_a_recipes():
    changes = tomllib.loads(next(text for kind, text in BLOCKS if kind == "toml"))
    tables = PAGE.partition("| to have | change |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`\[*(\w+)\]*`", tables)) | changes.keys()
    assert named <= recipe_schema()["properties"].keys()
