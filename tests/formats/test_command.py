"""``mis export`` as a user meets it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mis_dataset.cli.export import export
from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.formats import available, find_format
from mis_dataset.options import options_schema


def run(*arguments: object) -> Result:
    return CliRunner().invoke(export, [str(argument) for argument in arguments])


def test_it_says_what_it_wrote(dataset: Path, tmp_path: Path):
    result = run(dataset, "--format", "llava", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "Rows of sample" in result.stdout
    assert f"{tmp_path / 'out'} is ready: 22 files" in result.stdout
    assert (tmp_path / "out" / "mis_train.json").is_file()
    # No bar, and no control characters, where there is no terminal.
    assert result.stderr == ""


def test_a_dry_run_counts_and_writes_nothing(dataset: Path, tmp_path: Path):
    result = run(dataset, "--format", "pyrit", "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["easy", "6", "18"] in lines
    assert ["hard", "6", "15"] in lines
    assert "12 benign rows stay out; --intent all takes them along" in result.stdout
    assert "12 rows would be written" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_of_rows_that_the_format_cannot_hold(dataset: Path, tmp_path: Path):
    result = run(dataset, "--format", "legacy", "--out", tmp_path / "out", "--dry-run")
    assert "6 test rows with more than 2 images stay out; the option max_images=4 takes them along" in result.stdout
    assert "12 rows would be written" in result.stdout


def test_subsets_and_intents_can_be_chosen(dataset: Path, tmp_path: Path):
    result = run(dataset, "--format", "swift", "--subset", "hard", "--intent", "harmful", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert [path.name for path in (tmp_path / "out").glob("*.jsonl")] == ["mis_hard.jsonl"]
    assert len((tmp_path / "out" / "mis_hard.jsonl").read_text().splitlines()) == 6


def test_options_are_numbers_or_texts(dataset: Path, tmp_path: Path):
    options = ["--option", "kind=batch", "--option", "max_requests=7", "--option", "model=a=b"]
    assert run(dataset, "--format", "openai", *options, "--out", tmp_path / "out").exit_code == 0
    first = tmp_path / "out" / "batch-easy-00001.jsonl"
    assert len(first.read_text().splitlines()) == 7
    assert '"model": "a=b"' in first.read_text()


def test_an_option_without_a_value_is_a_mistake(dataset: Path, tmp_path: Path):
    result = run(dataset, "--format", "openai", "--option", "kind", "--out", tmp_path / "out")
    assert isinstance(result.exception, UsageError)
    assert "--option kind: write KEY=VALUE" in str(result.exception)


def test_quiet_prints_nothing(dataset: Path, tmp_path: Path):
    result = run(dataset, "--format", "swift", "--out", tmp_path / "out", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_no_dataset_is_a_mistake(tmp_path: Path):
    result = run(tmp_path, "--format", "swift", "--out", tmp_path / "out")
    assert isinstance(result.exception, DatasetError)


@pytest.mark.parametrize("arguments", [["--format", "lava"], ["--subset", "mild"], ["--intent", "none"]])
def test_unknown_choices_are_usage_errors(arguments: list[str], dataset: Path, tmp_path: Path):
    assert run(dataset, "--format", "swift", "--out", tmp_path / "out", *arguments).exit_code == 2


def test_the_help_names_the_options_of_every_format():
    told = " ".join(run("--help").output.split())
    for name in available():
        for key, schema in options_schema(find_format(name))["properties"].items():
            assert f"{name}: {key} {schema['description']}" in told
    assert "[one of llava, internvl; default: llava]" in told
