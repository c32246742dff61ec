"""The command line as a user meets it: help with examples, exit codes, one message per mistake."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recipes import tiny_text
from tiny_pipelines import tiny_sd1

from mis_dataset.cli import cli, main


def run(
    *arguments: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["mis", *map(str, arguments)])
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def mis(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    return lambda *arguments: run(*arguments, monkeypatch=monkeypatch, capsys=capsys)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(tiny_text())
    return path


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_help_with_an_example(mis, name: str):
    code, out, _ = mis(name, "--help")
    assert code == 0
    assert re.search(rf"Examples?:\n\s+mis {name} ", out)
    for option in cli.commands[name].params:
        assert option.param_type_name == "argument" or option.help, f"{name} {option.name} has no help"


def test_the_first_page_names_the_commands_and_the_exit_codes(mis):
    code, out, _ = mis("--help")
    assert code == 0
    assert {"build", "status", "validate", "push"} <= set(re.findall(r"^  (\w+) ", out, re.MULTILINE))
    assert "Exit codes" in out


def test_build_validate_and_status_agree(mis, recipe: Path, tmp_path: Path):
    out_dir = tmp_path / "mis"
    code, out, err = mis("build", recipe, "--out", out_dir)
    assert code == 0
    assert "benign twins" in out
    assert "is ready" in out
    # Plain lines where there is no terminal: no control characters.
    assert "render: " in err
    assert "\x1b" not in out + err
    assert mis("validate", out_dir)[0] == 0
    code, out, _ = mis("status", out_dir)
    assert code == 0
    assert "is complete" in out


def test_quiet_prints_nothing(mis, recipe: Path, tmp_path: Path):
    assert mis("build", recipe, "--out", tmp_path / "mis", "--quiet") == (0, "", "")
    assert mis("validate", tmp_path / "mis", "--quiet") == (0, "", "")
    assert mis("status", tmp_path / "mis", "--quiet") == (0, "", "")


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_can_be_quiet(name: str):
    assert "--quiet" in {flag for option in cli.commands[name].params for flag in option.opts}


def test_a_complete_dataset_is_said_to_be_so(mis, recipe: Path, tmp_path: Path):
    mis("build", recipe, "--out", tmp_path / "mis")
    code, out, _ = mis("build", recipe, "--out", tmp_path / "mis")
    assert (code, out) == (0, f"{tmp_path / 'mis'} is complete already\n")


def test_a_dry_run_changes_nothing(mis, recipe: Path, tmp_path: Path):
    code, out, _ = mis("build", recipe, "--out", tmp_path / "mis", "--dry-run")
    assert code == 0
    assert "9 harmful rows" in out
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_a_limit_and_a_last_stage_make_a_first_try_cheap(mis, recipe: Path, tmp_path: Path):
    code, out, _ = mis("build", recipe, "--out", tmp_path / "mis", "--limit", 2, "--to", "split")
    assert code == 0
    assert "stopped after split" in out
    assert not (tmp_path / "mis").exists()
    code, out, _ = mis("status", tmp_path / "mis")
    assert code == 0
    assert "is not assembled yet" in out


def test_quotas_that_are_not_met_are_listed(mis, recipe: Path, tmp_path: Path):
    recipe.write_text(tiny_text(screen="min_answer_words = 500"))
    code, out, _ = mis("build", recipe, "--out", tmp_path / "mis", "--to", "split")
    assert code == 0
    assert "Quotas not met" in out
    assert "train / Property Crimes: 0 of 2" in out
    assert re.search(r"screen\s+bare_refusal\s+\d+", out)


def test_how_a_renderer_uses_the_machine_is_noted(mis, recipe: Path, tmp_path: Path):
    model = tiny_sd1(tmp_path / "model")
    recipe.write_text(tiny_text().replace('"pictogram"\nsize = 64', f'"diffusion"\nmodel = "{model}"\nsteps = 2'))
    code, _, err = mis("build", recipe, "--out", tmp_path / "mis", "--to", "render", "--limit", "1", "--yes")
    assert code == 0
    assert "note: model draws in float32 " in err.replace(str(tmp_path / "model"), "model")
    assert re.search(r"note: about .* an image on cpu", err)


def test_work_that_fails_exits_with_one(mis, recipe: Path, tmp_path: Path):
    recipe.write_text(tiny_text(screen="min_answer_words = 500", split='on_shortfall = "fail"'))
    code, _, err = mis("build", recipe, "--out", tmp_path / "mis")
    assert code == 1
    assert err.splitlines()[-1].startswith("  - ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build"], "Missing argument"),
        (["build", "none.toml", "--out", "x"], "there is no such recipe"),
        (["build", "{recipe}", "--out", "x", "--to", "moon"], "'moon' is not one of"),
        (["build", "{recipe}", "--out", "x", "--limit", "0"], "0 is not in the range"),
        (["build", "{recipe}", "--out", "{folder}"], "holds another dataset or other files"),
        (["status", "nowhere"], "no build of nowhere is known"),
        (["validate", "nowhere"], "nowhere"),
        (["fly"], "No such command"),
    ],
)
def test_wrong_usage_exits_with_two_and_one_message(
    mis, recipe: Path, tmp_path: Path, arguments: list[str], message: str
):
    code, _, err = mis(*(part.format(recipe=recipe, folder=tmp_path) for part in arguments))
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_ctrl_c_says_how_to_go_on(recipe: Path, tmp_path: Path):
    # Large images make the build last long enough to be interrupted.
    recipe.write_text(tiny_text(run="shard_size = 1").replace("size = 64", "size = 2048"))
    command = [sys.executable, "-m", "mis_dataset", "build", str(recipe), "--out", str(tmp_path / "mis")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("work/render-*/shard-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert list(tmp_path.glob("work/render-*/shard-*"))
