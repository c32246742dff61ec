"""Where an import is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from official_files import OfficialFiles

from mis_dataset.intake import import_dataset
from mis_dataset.intake._write import _scratch
from mis_dataset.validation import validate

MEMORY = Path("/dev/shm")  # a file system of its own, on Linux


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than ``tmp_path``, to which nothing can be renamed from there."""
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    with TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def test_out_may_be_a_link_to_another_disk(tmp_path: Path, other_disk: Path):
    source = OfficialFiles(tmp_path / "MIS").write().root
    link = tmp_path / "mis"
    link.symlink_to(other_disk / "mis")
    for _ in range(2):
        import_dataset("legacy", source, link)
        assert validate(other_disk / "mis") == []
    assert link.is_symlink()
    assert [path.name for path in other_disk.iterdir()] == ["mis"]


def test_what_a_killed_import_left_is_removed(tmp_path: Path):
    source = OfficialFiles(tmp_path / "MIS").write().root
    (tmp_path / ".mis.importing" / "tmpx" / "made").mkdir(parents=True)
    (tmp_path / ".mis.importing" / "tmpx" / "made" / "half.parquet").write_bytes(b"half")
    import_dataset("legacy", source, tmp_path / "mis")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["MIS", "mis"]


# Else half of another's rows could be moved to where the first one's should be.
def test_two_imports_to_one_place_never_work_in_one_folder(tmp_path: Path):
    with _scratch(tmp_path / "mis") as first:
        with _scratch(tmp_path / "mis") as second:
            assert second.is_dir()
            assert not first.exists()
            assert first != second
        assert list(tmp_path.iterdir()) == []
