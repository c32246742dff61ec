"""``docs/use_it_with.md`` is true: its commands and its code run, its options are there."""

import json
import re
import shlex
from pathlib import Path

import mlcroissant
import pandas as pd
import pytest
from click.testing import CliRunner
from datasets import load_dataset
from official_files import OfficialFiles

from mis_dataset.cli import cli
from mis_dataset.cli.export import export as command
from mis_dataset.cli.import_ import import_
from mis_dataset.evaluate.responses import read_responses
from mis_dataset.formats import available, export, find_format
from mis_dataset.options import options_schema
from mis_dataset.validation import validate

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "use_it_with.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"`mis export ([^`]+)`", PAGE)
IMPORTS = re.findall(r"`mis import ([^`]+)`", PAGE)
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def _snippet(word: str) -> str:
    return next(code for code in SNIPPETS if word in code)


def _tools(text: str) -> dict[str, str]:
    """The first code of each row of a text's tables, by the name of the tool."""
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")]
    named = {re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", tool).strip(): re.search(r"`([^`]+)`", how) for tool, how in rows}
    return {tool: code[1] for tool, code in named.items() if code}


# What the page says is run below; so it is for the README.
def test_the_readmes_table_is_that_of_the_page():
    table = README.partition("| use it with … |")[2].partition("\n\n")[0]
    assert _tools(table) == _tools(PAGE.partition("## Others' data")[0])


# The code of the page is run where there is a model.
def test_the_row_of_trl_is_part_of_its_code():
    (argument,) = re.findall(r"train_dataset=\S+ \S+\)", _tools(PAGE)["TRL"])
    assert argument in _snippet("SFTTrainer")


@pytest.fixture
def here(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has the dataset as ``build/mis``."""
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "mis").symlink_to(dataset)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("arguments", COMMANDS)
def test_the_commands_run(arguments: str, here: Path):
    result = CliRunner().invoke(command, shlex.split(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    # What the tool is told to read next is among what was written.
    line = next(line for line in PAGE.splitlines() if f"`mis export {arguments}`" in line)
    told = re.findall(r"exported/[\w./-]*", line.split("|")[3])
    assert told == [] or all((here / path).exists() for path in told)


@pytest.mark.parametrize("arguments", [line for line in IMPORTS if "--help" not in line])
def test_what_others_made_becomes_a_dataset(arguments: str, here: Path):
    OfficialFiles(here / "MIS").write()
    name, source, _, out = shlex.split(arguments)
    if source.startswith("exported/"):
        export(here / "build" / "mis", name, here / source)
    result = CliRunner().invoke(import_, shlex.split(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    assert validate(here / out) == []


def test_the_papers_release_loads_as_told(here: Path, monkeypatch: pytest.MonkeyPatch):
    OfficialFiles(here / "MIS").write()
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", here / "cache")
    told = next(code for code in re.findall(r"`(load_dataset\([^`]+\))`", PAGE) if "paper" in code)
    assert set(eval(told, {"load_dataset": load_dataset})) == {"train", "test"}


# `mlcroissant` uses what `rdflib` and `pandas` are going to drop.
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index is deprecated")
def test_croissant_reads_as_told(here: Path, rows):
    told = next(code for code in re.findall(r"`(mlcroissant\.[^`]+)`", PAGE))
    record = next(iter(eval(told, {"mlcroissant": mlcroissant})))
    assert record["hard/id"].decode() == next(row["id"] for row in rows if row["subset"] == "hard")


def test_datasets_reads_as_told(here: Path, rows, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", here / "cache")
    told = next(code for code in re.findall(r"`(load_dataset\([^`]+\))`", PAGE) if "build/mis" in code)
    assert eval(told, {"load_dataset": load_dataset})["id"][:] == [row["id"] for row in rows if row["subset"] == "hard"]


def test_the_commands_that_want_a_model_parse(here: Path):
    (here / "answers.jsonl").touch()
    told = re.findall(r"`mis ((?:finetune|evaluate) -[^`]+)`", PAGE)
    assert len(told) == 3
    for line in told:
        name, *arguments = shlex.split(line)
        cli.commands[name].make_context(name, arguments)


def test_every_format_is_in_the_table():
    named = {shlex.split(arguments)[shlex.split(arguments).index("--format") + 1] for arguments in COMMANDS}
    assert named >= set(available())


def test_the_options_are_complete():
    table = PAGE.partition("## Options")[2].partition("##")[0]
    lines = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    listed = {name: options for _, names, options, _ in lines for name in re.findall(r"`([\w-]+)`", names)}
    for name in available():
        for option in options_schema(find_format(name))["properties"]:
            assert f"`{option}`" in listed[name]


def test_predictions_of_vlmevalkit_become_answers(here: Path, rows):
    ids = [row["id"] for row in rows if row["subset"] == "hard"]
    table = pd.DataFrame({"index": range(len(ids)), "id": ids, "question": "?", "prediction": ["NA", "No."] * 6})
    table.to_csv("my-vlm_MIS_hard.tsv", sep="\t", index=False)
    exec(compile(_snippet("pandas"), "use_it_with.md", "exec"), {})
    cases = read_responses(here / "answers.jsonl", data="build/mis")
    assert {case.row.id: case.row.response for case in cases} == dict(zip(ids, ["NA", "No."] * 6, strict=True))


def test_answers_to_a_batch_become_answers(here: Path, rows):
    ids = [row["id"] for row in rows if row["subset"] == "hard"]
    results = [
        {"custom_id": name, "response": {"body": {"choices": [{"message": {"role": "assistant", "content": text}}]}}}
        for name, text in zip(ids, ["No.", None] * 6, strict=True)
    ]
    (here / "batch_output.jsonl").write_text("\n".join(map(json.dumps, results)))
    exec(compile(_snippet("batch_output"), "use_it_with.md", "exec"), {})
    cases = read_responses(here / "answers.jsonl", data="build/mis")
    assert {case.row.id: case.row.response for case in cases} == dict(zip(ids, ["No.", ""] * 6, strict=True))
