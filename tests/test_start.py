"""What is settled, and said, before a build begins."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from recipes import tiny

from mis_dataset.cli import cli
from mis_dataset.errors import BackendError, OutputError
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
