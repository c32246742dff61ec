"""What is settled, and said, before a build begins."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from recipes import tiny

from mis_dataset.cli import cli
from mis_dataset.errors import BackendError, OutputError, StorageError
from mis_dataset.pipeline import build
from mis_dataset.start import dry_run


@pytest.mark.parametrize(
    ("work", "storage", "which"), [("mis/work", "", "work folder"), ("work", "mis/store", "storage")]
)
def test_nothing_but_the_dataset_may_lie_in_its_directory(tmp_path: Path, work: str, storage: str, which: str):
    out, store = tmp_path / "mis", str(tmp_path / storage) if storage else ""
    for begin in (build, dry_run):
        with pytest.raises(OutputError, match=f"the {which} .* lies in --out"):
            begin(tiny(tmp_path), out, tmp_path / work, storage=store)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_a_dry_run_says_where_shards_will_lie(tmp_path: Path):
    tiny(tmp_path)
    options = ["--out", str(tmp_path / "mis"), "--storage", str(tmp_path / "stored"), "--dry-run"]
    text = CliRunner().invoke(cli, ["build", str(tmp_path / "recipe.toml"), *options]).output
    assert f"{tmp_path / 'stored'}/render-" in text
    assert str(tmp_path / "work") not in text


def test_a_storage_of_an_unknown_kind_is_said_beforehand(tmp_path: Path):
    with pytest.raises(BackendError, match="nothing://here cannot be reached"):
        dry_run(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", "nothing://here")


@pytest.mark.parametrize(("work", "storage", "which"), [("file", "", "work folder"), ("work", "file/s", "storage")])
def test_a_file_where_a_folder_has_to_be_is_said_beforehand(tmp_path: Path, work: str, storage: str, which: str):
    (tmp_path / "file").touch()
    place = tmp_path / (storage or work)
    for begin in (build, dry_run):
        with pytest.raises(
            OutputError, match=f"the {which} {place} cannot be made: {tmp_path / 'file'} is no folder; "
        ):
            begin(tiny(tmp_path), tmp_path / "mis", tmp_path / work, storage=str(tmp_path / storage) if storage else "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "recipe.toml"]


def test_the_command_says_so_too_and_how_it_is_called_is_not_to_blame(tmp_path: Path):
    tiny(tmp_path)
    (tmp_path / "file").touch()
    options = ["--out", str(tmp_path / "mis"), "--work", str(tmp_path / "file")]
    done = CliRunner().invoke(cli, ["build", str(tmp_path / "recipe.toml"), *options])
    assert isinstance(done.exception, OutputError)
    assert "Usage" not in done.output


def test_a_storage_that_cannot_be_made_is_named_as_it_was_given(tmp_path: Path):
    # Nobody can make folders there, not even root.
    with pytest.raises(StorageError, match=r"^/proc/nope: .*; see to that place, or choose another one"):
        build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", storage="/proc/nope")
