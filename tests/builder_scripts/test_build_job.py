"""The self-contained script: its header is true, it builds, and a Job that ends too soon loses nothing."""

import importlib.util
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import click
import httpx2
import pytest
from packaging.requirements import Requirement

import mis_dataset

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "builder_scripts" / "build_job.py"
SMALL = ["preview.toml", "--limit", "4", "-q"]


@pytest.fixture
def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_job", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FolderHub:
    """Stands in for the Hub's client: buckets are folders."""

    root: Path
    asked: list[str]

    def create_bucket(self, name: str, *, private: bool, exist_ok: bool) -> None:
        assert private
        (self.root / name).mkdir(parents=True, exist_ok=exist_ok)

    def sync_bucket(self, source: str, dest: str, *, exclude: list[str] | None = None, quiet: bool) -> None:
        start, end = (Path(place.replace("hf://buckets", str(self.root))) for place in (source, dest))
        for path in (path for path in start.rglob("*") if path.is_file()):
            name = path.relative_to(start).as_posix()
            if not any(fnmatch(name, pattern) for pattern in exclude or ()):
                (end / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, end / name)


@pytest.fixture
def hub(tmp_path: Path, job: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(FolderHub, "root", tmp_path / "hub", raising=False)
    monkeypatch.setattr(job, "HfApi", FolderHub)
    return tmp_path / "hub" / "me" / "work"


def test_the_header_asks_for_this_version_with_extras_that_exist():
    # The pattern is PEP 723's own.
    found = re.findall(
        r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$", SCRIPT.read_text("utf-8")
    )
    assert [kind for kind, *_ in found] == ["script"]
    header = tomllib.loads("".join(line[2:] for line in found[0][1].splitlines(keepends=True)))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (ours,) = map(Requirement, header["dependencies"])
    assert ours.name == project["name"]
    assert str(ours.specifier) == f"=={mis_dataset.__version__}"
    assert ours.extras <= project["optional-dependencies"].keys()
    assert header["requires-python"] == project["requires-python"]


def test_it_builds(tmp_path: Path):
    command = [sys.executable, str(SCRIPT), *SMALL, "--out", str(tmp_path / "mis")]
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "mis" / "manifest.json").exists()


def test_the_builds_exit_code_is_its_own(tmp_path: Path):
    (tmp_path / "bad.toml").write_text("name = 1")
    command = [sys.executable, str(SCRIPT), str(tmp_path / "bad.toml"), "--out", str(tmp_path / "mis")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 2


def test_cancelled_it_lets_the_build_end_in_order(tmp_path: Path):
    command = [sys.executable, str(SCRIPT), "preview.toml", "--out", str(tmp_path / "mis")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline()  # the build has begun
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "finished work is kept" in rest


def test_another_machine_goes_on_from_the_bucket(tmp_path: Path, job: ModuleType, hub: Path):
    bucket, recipe = "hf://buckets/me/work", str(job.recipe_file("preview.toml"))

    def build(machine: str, *more: str) -> int:
        work = tmp_path / machine / "work"
        command = ["build", recipe, "--out", str(tmp_path / machine / "mis"), "--work", str(work), "--limit", "4", "-q"]
        return int(job.keeping([*command, *more], work, bucket, every=60.0))

    hub.mkdir(parents=True)
    assert build("one", "--to", "render") == 0
    drawn = {path.name: path.read_bytes() for path in hub.glob("render-*/shard-*.parquet")}
    assert drawn
    assert not list(hub.glob("build.lock*"))
    assert build("two") == 0
    there = (tmp_path / "two" / "work").glob("render-*/shard-*.parquet")
    assert {path.name: path.read_bytes() for path in there} == drawn
    assert (tmp_path / "two" / "mis" / "manifest.json").exists()


def test_work_is_copied_while_the_build_runs(tmp_path: Path, job: ModuleType, hub: Path):
    hub.mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "shard.parquet").write_text("finished")
    copies: list[bool] = []
    real = job.copy

    def watched(work: Path, bucket: str) -> bool:
        copies.append(real(work, bucket))
        return copies[-1]

    job.copy = watched
    assert job.keeping(["plan", "--help"], tmp_path / "work", "hf://buckets/me/work", every=0.05) == 0
    assert len(copies) > 2
    assert all(copies)
    assert (hub / "shard.parquet").read_text() == "finished"


def test_a_hub_that_is_down_is_told_in_the_end(
    tmp_path: Path, job: ModuleType, hub: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "shard.parquet").write_text("finished")
    hub.parent.mkdir(parents=True)
    hub.write_text("in the way")  # a file where the bucket's folder would be
    assert job.copy(tmp_path / "work", "hf://buckets/me/work") is False
    assert "could not be copied to hf://buckets/me/work" in capsys.readouterr().err


def test_a_connection_that_breaks_ends_one_copy_and_not_those_after_it(
    tmp_path: Path, job: ModuleType, hub: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    class Flaky(FolderHub):
        uploads = 0

        def sync_bucket(self, source: str, dest: str, *, exclude: list[str] | None = None, quiet: bool) -> None:
            Flaky.uploads += dest.startswith("hf://")
            if Flaky.uploads == 1 and dest.startswith("hf://"):
                raise httpx2.ConnectError("the line is down")  # no OSError
            super().sync_bucket(source, dest, exclude=exclude, quiet=quiet)

    monkeypatch.setattr(job, "HfApi", Flaky)
    hub.mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "shard.parquet").write_text("finished")
    assert job.keeping(["plan", "--help"], tmp_path / "work", "hf://buckets/me/work", every=0.05) == 0
    assert "hf://buckets/me/work: the line is down" in capsys.readouterr().err
    # One after the other in the background, and one in the end.
    assert Flaky.uploads > 2
    assert (hub / "shard.parquet").read_text() == "finished"


def test_a_ledger_that_cannot_be_copied_is_told(
    tmp_path: Path, job: ModuleType, hub: Path, capsys: pytest.CaptureFixture[str]
):
    hub.mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "ledger.sqlite").write_bytes(b"no database" * 100)
    assert job.copy(tmp_path / "work", "hf://buckets/me/work") is False
    assert "could not be copied" in capsys.readouterr().err


def test_the_copy_of_a_ledger_in_use_is_whole(tmp_path: Path, job: ModuleType):
    ledger, copied = tmp_path / "ledger.sqlite", tmp_path / "copy.sqlite"
    assert not job.snapshot(ledger, copied)
    with closing(sqlite3.connect(ledger, isolation_level=None)) as writing:
        writing.execute("PRAGMA journal_mode = WAL")
        writing.execute("CREATE TABLE kept (key TEXT)")
        writing.execute("INSERT INTO kept VALUES ('paid for')")
        writing.execute("BEGIN")
        writing.execute("INSERT INTO kept VALUES ('in flight')")
        assert job.snapshot(ledger, copied)
    with closing(sqlite3.connect(copied)) as reading:
        # A plain copy of the file would lack what is in the write-ahead log alone.
        assert reading.execute("SELECT key FROM kept").fetchall() == [("paid for",)]


@pytest.mark.parametrize("address", ["my-org/work", "hf://buckets/work", "hf://datasets/me/work"])
def test_a_bucket_is_named_as_the_hub_does(job: ModuleType, address: str):
    assert job.bucket_name("hf://buckets/me/work/part-7") == "me/work"
    with pytest.raises(click.BadParameter, match="hf://buckets/ORG/NAME"):
        job.bucket_name(address)


def test_a_recipe_that_is_not_there_is_named(job: ModuleType):
    with pytest.raises(click.BadParameter, match="and no shipped recipe"):
        job.recipe_file("previw.toml")
