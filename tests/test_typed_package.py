"""Whoever installs the package gets its types, and its data."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RIGHT = """
from pathlib import Path

import mis_dataset
from mis_dataset.pipeline import BuildReport
from mis_dataset.validation import Problem

report: BuildReport = mis_dataset.build("recipe.toml", Path("mis"), limit=8)
problems: list[Problem] = mis_dataset.validate("mis")
rows: int = mis_dataset.export("mis", "llava", "out", dialect="internvl").rows
commit: str | None = mis_dataset.push("mis", "lab/mis", dry_run=True).commit
mis_dataset.load("mis", "hard", split="test")
version: str = mis_dataset.__version__
try:
    ...
except mis_dataset.MisError as error:
    code: int = error.exit_code
"""
WRONG = """
import mis_dataset

mis_dataset.build(8, "mis")
mis_dataset.validate("mis").rows
mis_dataset.export("mis", "llava", "out", intent="good")
mis_dataset.train("mis")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the package installed and nothing else."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    places = sysconfig.get_paths("venv", {"base": str(home), "platbase": str(home)})
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(places["purelib"])
    return Path(places["scripts"], "python")


def _mypy(python: Path, folder: Path, code: str) -> list[str]:
    """What mypy finds wrong with code that uses the installed package."""
    (folder / "mine.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "--no-error-summary"]
    cache = folder.parent / "mypy"
    done = subprocess.run(
        [*command, f"--cache-dir={cache}", "--config-file=", "mine.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line]


def test_the_wheel_has_types_and_data(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "mis_dataset/py.typed",
        "mis_dataset/api.py",
        "mis_dataset/dataset_card/README.md.j2",
        "mis_dataset/dataset_card/responsible_ai.yaml.j2",
        "mis_dataset/dataset_card/schemas/row.schema.json",
        "mis_dataset/builder_scripts/preview.toml",
    } <= names
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/")) for name in names)


# One run for both: most of its time goes into reading the package.
def test_mypy_sees_the_types_of_the_installed_package(python: Path, tmp_path: Path):
    assert _mypy(python, tmp_path, RIGHT) == []
    found = _mypy(python, tmp_path, WRONG)
    lines = [int(line.split(":")[1]) for line in found]
    assert lines == [4, 5, 6, 7]
    assert "incompatible type" in found[0]
