"""``mis finetune``: a recipe, flags, or both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from recipes import tiny
from tiny_vlm import tiny_vlm

from mis_dataset.cli.finetune import finetune
from mis_dataset.errors import RecipeError, UsageError
from mis_dataset.finetune import FinetuneSettings
from mis_dataset.options import options_schema
from mis_dataset.pipeline import build


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A dataset and a model."""
    folder = tmp_path_factory.mktemp("made")
    build(tiny(folder), folder / "mis", folder / "work")
    return {"data": str(folder / "mis"), "model": str(tiny_vlm(folder / "vlm"))}


@pytest.fixture(autouse=True)
def _on_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own, and one thread: on busy cores, threads that wait for each other take ten times as long."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(finetune, list(map(str, arguments)), catch_exceptions=True)


def test_every_setting_has_a_flag():
    flags = {flag for option in finetune.params for flag in option.opts}
    for name in options_schema(FinetuneSettings)["properties"]:
        assert f"--{name.replace('_', '-')}" in flags


def test_a_recipe_and_flags_train_together(made: dict[str, str], tmp_path: Path):
    recipe = tmp_path / "tune.toml"
    recipe.write_text(f"model = {json.dumps(made['model'])}\nmax_steps = 1\nbatch_size = 2\ntwins = true\n")
    command = (recipe, "--data", made["data"], "--out", tmp_path / "out", "--no-twins", "--labels", "refusal")
    done = run(*command)
    assert done.exception is None
    assert "3 rows (3 harmful, 0 benign, 0 general)" in done.output
    assert "step 1 of 1: loss" in done.output
    assert f"{tmp_path / 'out'} is ready: 1 steps" in done.output
    settings = json.loads((tmp_path / "out" / "finetune.json").read_text())["settings"]
    assert (settings["max_steps"], settings["twins"], settings["labels"]) == (1, False, "refusal")
    assert "is complete already" in run(*command).output
    assert run(*command, "--quiet").output == ""


def test_mistakes_in_flags_are_listed(made: dict[str, str], tmp_path: Path):
    done = run("--data", made["data"], "--out", tmp_path / "out", "--subsets", "easy", "--epochs", 0)
    assert isinstance(done.exception, RecipeError)
    assert [problem.partition(":")[0] for problem in done.exception.problems] == ["model", "epochs", "subsets"]


# Hours of training should not end at a name that cannot be.
def test_a_malformed_name_to_push_to_stops_it_before_it_begins(made: dict[str, str], tmp_path: Path):
    done = run("--model", made["model"], "--data", made["data"], "--out", tmp_path / "out", "--push", "nobody")
    assert isinstance(done.exception, UsageError)
    assert "organisation/name" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_public_without_a_name_is_refused(made: dict[str, str], tmp_path: Path):
    done = run("--model", made["model"], "--data", made["data"], "--out", tmp_path / "out", "--public")
    assert isinstance(done.exception, UsageError)
    assert "--push" in str(done.exception)
