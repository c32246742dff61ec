"""The documentation is true: its commands exist, its files are there, its code runs."""

import re
import shlex
from pathlib import Path

import click
import pytest
from official_files import OfficialFiles
from recipes import tiny, tiny_text

from mis_dataset.backends import BACKEND_STAGES, available
from mis_dataset.cli import cli
from mis_dataset.pipeline import build
from mis_dataset.recipe import recipe_schema

ROOT = Path(__file__).parent.parent
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = DOCS[0].read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    return [line.removeprefix("$ ").partition("  #")[0] for line in text.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize(
    "line", sorted({line for doc in DOCS for line in commands(doc.read_text("utf-8")) if line.startswith("mis ")})
)
def test_every_command_in_the_docs_parses(line: str):
    name, *arguments = shlex.split(line)[1:]
    assert isinstance(cli.commands[name], click.Command)
    cli.commands[name].make_context(name, list(arguments))


def test_every_command_is_in_the_readme():
    for name in cli.commands:
        assert re.search(rf"(\$ |`)mis {name} ", README)


@pytest.mark.parametrize("line", [line for line in commands(README) if line.startswith("make ")])
def test_make_targets_exist(line: str):
    assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_annotated_tree_is_true():
    tree = README.partition("## What is where")[2].split("```")[1]
    for line in tree.strip().splitlines():
        names = re.findall(r"[\w.]+/?(?=\s)", line.partition("   ")[0] + " ")
        folder = ROOT if not line.startswith(" ") else ROOT / "mis_dataset"
        for name in names:
            assert (folder / name).exists(), name


def test_links_to_files_are_not_dead():
    for doc in DOCS:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", doc.read_text("utf-8")):
            assert (doc.parent / target).exists(), f"{doc.name}: {target}"


def test_the_table_of_recipe_keys_is_complete():
    table = README.partition("| table | keys |")[2].partition("\n\n")[0]
    schema = recipe_schema()["properties"]
    for name, part in schema.items():
        assert f"`{name}`" in table or f"[{name}]" in table, name
        for key in part.get("properties", {}):
            assert key == "backend" or f"`{key}`" in table, f"{name}.{key}"
    for stage in BACKEND_STAGES:
        for backend in available(stage):
            assert f"`{backend}`" in table, backend


def test_the_readmes_backends_build_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "readme_lab.py").write_text("\n".join(block for block in blocks if "@dataclass" in block))
    monkeypatch.syspath_prepend(str(tmp_path))
    text = tiny_text().replace('"pictogram"\nsize = 64', '"readme_lab:ColourRenderer"')
    text = text.replace('"template"', '"readme_lab:TerseTeacher"').replace('"rules"', '"readme_lab:NoCats"')
    report = build(tiny(tmp_path, text), tmp_path / "mis", tmp_path / "work")
    assert report.split is not None
    assert report.split.shortfalls == {}


def test_the_readmes_loading_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    build(tiny(tmp_path), tmp_path / "build" / "mis", tmp_path / "work")
    (tmp_path / "mis").symlink_to(tmp_path / "build" / "mis")
    OfficialFiles(tmp_path / "MIS").write()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        if "load_dataset" in block:
            exec(compile(block, "README.md", "exec"), {})
    assert "the second" in capsys.readouterr().out
