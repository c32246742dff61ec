"""``docs/use_it_with.md`` is true: its commands and its code run, its options are there."""

import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from mis_dataset.cli.export import export as command
from mis_dataset.evaluate.responses import read_responses
from mis_dataset.formats import available
from mis_dataset.formats._formats import find_format
from mis_dataset.options import options_schema

PAGE = (Path(__file__).parents[2] / "docs" / "use_it_with.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"`mis export ([^`]+)`", PAGE)
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


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


def test_every_format_is_in_the_table():
    named = {shlex.split(arguments)[shlex.split(arguments).index("--format") + 1] for arguments in COMMANDS}
    assert named >= set(available()) - {"legacy"}


def test_the_options_are_complete():
    table = PAGE.partition("## Options")[2].partition("##")[0]
    lines = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    listed = {name: options for _, names, options, _ in lines for name in re.findall(r"`([\w-]+)`", names)}
    for name in set(available()) - {"legacy"}:
        for option in options_schema(find_format(name))["properties"]:
            assert f"`{option}`" in listed[name]


def test_predictions_of_vlmevalkit_become_answers(here: Path, rows):
    ids = [row["id"] for row in rows if row["subset"] == "hard"]
    table = pd.DataFrame({"index": range(len(ids)), "id": ids, "question": "?", "prediction": ["NA", "No."] * 6})
    table.to_csv("my-vlm_MIS_hard.tsv", sep="\t", index=False)
    exec(compile(SNIPPETS[0], "use_it_with.md", "exec"), {})
    cases = read_responses(here / "answers.jsonl", data="build/mis")
    assert {case.row.id: case.row.response for case in cases} == dict(zip(ids, ["NA", "No."] * 6, strict=True))


def test_answers_to_a_batch_become_answers(here: Path, rows):
    ids = [row["id"] for row in rows if row["subset"] == "hard"]
    results = [
        {"custom_id": name, "response": {"body": {"choices": [{"message": {"role": "assistant", "content": text}}]}}}
        for name, text in zip(ids, ["No.", None] * 6, strict=True)
    ]
    (here / "batch_output.jsonl").write_text("\n".join(map(json.dumps, results)))
    exec(compile(SNIPPETS[1], "use_it_with.md", "exec"), {})
    cases = read_responses(here / "answers.jsonl", data="build/mis")
    assert {case.row.id: case.row.response for case in cases} == dict(zip(ids, ["No.", ""] * 6, strict=True))
