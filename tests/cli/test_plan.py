"""What a build costs, as a user meets it: `mis plan`, the question before a costly build, the limit that stops one."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from recipes import tiny, tiny_text

from mis_dataset.cli import main
from mis_dataset.pipeline import build
from mis_dataset.resources import resource


@pytest.fixture
def mis(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command: its exit code and what it prints."""

    def run(*arguments: object) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["mis", *map(str, arguments)])
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """A person at a keyboard: what is written here is typed."""
    keyboard, screen = os.openpty()
    with os.fdopen(keyboard, "w") as typed, os.fdopen(screen) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield typed


def accelerated(folder: Path, rates: str = "", limits: str = "") -> Path:
    """A recipe that draws on an accelerator: milliseconds, whatever its rates say."""
    text = tiny_text(run="shard_size = 3").replace('"pictogram"\nsize = 64', '"lab:Accelerated"')
    path = folder / "recipe.toml"
    path.write_text(f"{text}\n[limits]\n{limits}\n[rates]\n{rates}\n")
    return path


SLOW = "seconds_per_image = 1000"


# mis plan


def test_the_plan_of_the_papers_recipe_names_every_model_and_what_it_needs(mis):
    code, out, _ = mis("plan", resource("builder_scripts", "paper.toml"))
    assert code == 0
    assert "paper: 6212 harmful rows and their twins, about" in out
    for model in ("Qwen2.5-72B-Instruct", "stable-diffusion-3.5-large", "InternVL2_5-78B", "gpt-4o-2024-11-20"):
        assert model in out
    assert re.search(r"^  all +[\d,]+ +[\d,]+ +[\d,]+ +[\d,]+ +[\d,.]+ +[\d,.]+$", out, re.MULTILINE)
    assert re.search(r"About [\d,]+ seeds are needed, if they are of the kinds that are wanted", out)
    assert "Not in USD: Qwen/Qwen2.5-72B-Instruct, OpenGVLab/InternVL2_5-78B; name what they cost in [prices]." in out


def test_a_plan_tells_images_hours_money_and_limits(mis, tmp_path: Path):
    # For 2, 1, 2, 3 and 1 rows at 0.6: 4 + 2 + 4 + 5 + 2 families, each with 3 images and its twin's one more.
    recipe = accelerated(
        tmp_path, "images_per_question = 3.0\nredraws = 0\nseconds_per_image = 100", "max_usd = 1000.5"
    )
    recipe.write_text(recipe.read_text() + "[prices]\ngpu_hour = 10.0\n")
    code, out, _ = mis("plan", recipe)
    assert code == 0
    assert re.search(r"^  render +lab:Accelerated +68 +1\.9 +18\.89$", out, re.MULTILINE)
    assert "The build stops at max_usd = 1,000.5." in out
    assert "seeds" not in out
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_a_limit_makes_a_plan_smaller(mis, tmp_path: Path):
    assert "tiny: 3 harmful rows and their twins" in mis("plan", accelerated(tmp_path), "--limit", 3)[1]


def test_a_plan_says_that_a_cpus_speed_is_not_known_and_how_to_find_out(mis, tmp_path: Path):
    path = tmp_path / "recipe.toml"
    path.write_text(tiny_text().replace('"pictogram"\nsize = 64', '"diffusion"\nmodel = "sd-turbo"\ndevice = "cpu"'))
    code, out, _ = mis("plan", path)
    assert code == 0
    assert re.search(r"^  render +sd-turbo +\d+ +\?$", out, re.MULTILINE)
    assert "Not in the hours: sd-turbo, as it is not known how fast this CPU draws; build a few rows" in out
    assert "--sample" in out


def test_a_plan_of_less_than_an_hour_is_not_rounded_to_nothing(mis, tmp_path: Path):
    recipe = accelerated(tmp_path, "images_per_question = 3.0\nredraws = 0\nseconds_per_image = 0.9")
    assert re.search(r"^  render +lab:Accelerated +68 +0\.0170 ", mis("plan", recipe)[1], re.MULTILINE)


def test_a_plan_says_that_nothing_is_needed(mis, tmp_path: Path):
    tiny(tmp_path)
    code, out, _ = mis("plan", tmp_path / "recipe.toml")
    assert (code, out) == (0, "tiny: 9 harmful rows and their twins; no server and no accelerator is used\n")


def test_a_plan_goes_by_a_sample(mis, tmp_path: Path):
    recipe = accelerated(tmp_path)
    assert mis("build", recipe, "--out", tmp_path / "sample", "--limit", 3)[0] == 0
    drawn = len(list((tmp_path / "work" / "images").rglob("*.png")))
    code, out, _ = mis("plan", recipe, "--sample", tmp_path / "sample")
    assert code == 0
    assert re.search(rf"^  render +noise +{3 * drawn} ", out, re.MULTILINE)


def test_a_wrong_sample_is_said(mis, tmp_path: Path):
    build(tiny(tmp_path, tiny_text().replace('"tiny"', '"other"')), tmp_path / "sample", tmp_path / "work")
    code, _, err = mis("plan", accelerated(tmp_path), "--sample", tmp_path / "sample")
    assert code == 2
    assert "was built from another recipe: name, render differ" in err


def test_a_quiet_plan_prints_nothing(mis, tmp_path: Path):
    assert mis("plan", accelerated(tmp_path), "--quiet") == (0, "", "")


# The question before a costly build


def test_where_nobody_can_be_asked_a_costly_build_wants_a_yes_beforehand(mis, tmp_path: Path):
    code, _, err = mis("build", accelerated(tmp_path, SLOW), "--out", tmp_path / "mis")
    assert code == 2
    assert re.search(r"expected to need about 0 requests, 0 tokens, [\d,]+ s of drawing.*say --yes to agree", err)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_with_a_yes_a_costly_build_goes_on_and_tells_what_it_spent(mis, tmp_path: Path):
    code, out, _ = mis("build", accelerated(tmp_path, SLOW), "--out", tmp_path / "mis", "--yes")
    assert code == 0
    assert re.search(r"Spent: 0 requests, 0 tokens, \d s of drawing, 0\.00 USD \(no price for noise\)", out)


def test_a_cheap_build_asks_nobody(mis, tmp_path: Path):
    assert mis("build", accelerated(tmp_path), "--out", tmp_path / "mis")[0] == 0


def test_a_dry_run_asks_nobody(mis, tmp_path: Path):
    assert mis("build", accelerated(tmp_path, SLOW), "--out", tmp_path / "mis", "--dry-run")[0] == 0


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_at_a_terminal_a_person_decides(mis, terminal: TextIO, tmp_path: Path, answer: str, code: int):
    terminal.write(f"{answer}\n")
    terminal.flush()
    found, _, err = mis("build", accelerated(tmp_path, SLOW), "--out", tmp_path / "mis")
    assert found == code
    assert "Go on? [y/N]" in err
    assert (tmp_path / "mis").exists() is (code == 0)


# A limit that is reached


def test_a_limit_that_is_reached_exits_with_three_and_says_how_to_go_on(mis, tmp_path: Path):
    recipe = accelerated(tmp_path, limits="max_gpu_seconds = 0.003")
    code, _, err = mis("build", recipe, "--out", tmp_path / "mis")
    assert code == 3
    assert "error: limits.max_gpu_seconds = 0.003 is reached" in err
    assert "raise the limit and run again" in err
    assert "Traceback" not in err
    assert mis("build", accelerated(tmp_path, limits="max_gpu_seconds = 60"), "--out", tmp_path / "mis")[0] == 0
