"""One process at a time in a work folder and for a dataset, and no trace of a process that was killed."""

import errno
import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mis_dataset.errors import OutputError, StorageError
from mis_dataset.run.lock import LOCK_FILES, building, working_in

HOLD = """
import sys
from pathlib import Path
from mis_dataset.run import lock
with getattr(lock, sys.argv[1])(Path(sys.argv[2])):
    print("working", flush=True)
    sys.stdin.read()
"""


@contextmanager
def somebody_in(work: Path, how: str = "working_in") -> Iterator[subprocess.Popen[str]]:
    """Another process that works in a folder until its input ends."""
    command = [sys.executable, "-c", HOLD, how, str(work)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "working\n"
            yield process
        finally:
            process.kill()


def left_in(work: Path) -> set[str]:
    return {path.name for path in work.iterdir()}


def test_a_second_process_is_told_who_works_there_and_what_to_do(tmp_path: Path):
    with somebody_in(tmp_path) as other, pytest.raises(OutputError) as raised, working_in(tmp_path):
        pass
    message = str(raised.value)
    assert f"{tmp_path} is in use by process {other.pid} on " in message
    assert "name another --work" in message


def test_a_killed_process_leaves_no_stale_lock(tmp_path: Path):
    with somebody_in(tmp_path) as other:
        other.kill()
        other.wait()
        with working_in(tmp_path):
            holder = next(path for path in tmp_path.iterdir() if re.match(rf"process {os.getpid()} ", path.read_text()))
    # It names nobody once the work is done, were it only for the next who is killed before it has signed.
    assert not holder.exists()


def test_one_may_work_after_the_other(tmp_path: Path):
    with somebody_in(tmp_path) as other:
        other.communicate()
    with working_in(tmp_path):
        pass
    with working_in(tmp_path):
        pass


def test_the_same_process_cannot_work_there_twice_at_once(tmp_path: Path):
    with working_in(tmp_path):
        with pytest.raises(OutputError, match=f"in use by process {os.getpid()} "), working_in(tmp_path):
            pass
        # The refused one has not let go of the lock of the other.
        with pytest.raises(OutputError), working_in(tmp_path):
            pass


def test_work_that_fails_lets_go(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), working_in(tmp_path):
        raise ZeroDivisionError
    with working_in(tmp_path):
        pass


def test_other_folders_are_free(tmp_path: Path):
    with somebody_in(tmp_path / "one"), working_in(tmp_path / "other"):
        pass


def test_the_folder_is_made_and_only_the_lock_is_left(tmp_path: Path):
    work = tmp_path / "deep" / "work"
    with working_in(work):
        assert left_in(work) == LOCK_FILES
    assert left_in(work) < LOCK_FILES


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file/work"), working_in(tmp_path / "file" / "work"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    # As on Lustre that is mounted without `flock`: a lock file that is merely there would outlive who is killed.
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"has no locks \(.*\); name another --work"), working_in(tmp_path):
        pass


def test_the_name_of_the_other_is_not_needed(tmp_path: Path):
    # Its disk was full, or it is about to sign.
    with somebody_in(tmp_path):
        for path in tmp_path.iterdir():
            if path.read_text():
                path.unlink()
        with pytest.raises(OutputError, match="in use by another process;"), working_in(tmp_path):
            pass


def test_a_name_that_cannot_be_read_is_not_needed(tmp_path: Path):
    with somebody_in(tmp_path):
        (tmp_path / "build.lock.holder").write_bytes(b"\xff\xfe")
        with pytest.raises(OutputError, match="in use by another process;"), working_in(tmp_path):
            pass


def test_a_second_builder_of_a_dataset_is_told_who_builds_it_and_what_to_do(tmp_path: Path):
    out = tmp_path / "mis"
    with somebody_in(out, "building") as other, pytest.raises(OutputError) as raised, building(out):
        pass
    assert re.match(rf"{out} is being built by process {other.pid} on .*; .* name another --out", str(raised.value))


def test_a_dataset_is_one_by_whatever_name(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "mis")
    with building(tmp_path / "mis"), pytest.raises(OutputError, match="is being built"), building(tmp_path / "link"):
        pass
    with building(tmp_path / "mis"), building(tmp_path / "other"):
        pass


def test_who_builds_leaves_nothing_beside_the_dataset_not_even_of_one_who_was_killed(tmp_path: Path):
    out = tmp_path / "deep" / "mis"
    with somebody_in(out, "building") as other:
        other.kill()
        other.wait()
        assert left_in(out.parent)
        with building(out):
            pass
    assert left_in(out.parent) == set()


def test_who_opened_the_lock_before_it_was_removed_gets_no_lock(tmp_path: Path):
    # Two would hold locks otherwise: one that has a name, and one that has none any more.
    out = tmp_path / "mis"
    with building(out):
        late = (tmp_path / ".mis.lock").open("rb")
    with late, building(out):
        assert os.fstat(late.fileno()).st_nlink == 0
        with pytest.raises(OutputError), building(out):
            pass


def test_a_dataset_may_lie_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    # The work folder lies elsewhere then: it is refused there.
    monkeypatch.setattr(fcntl, "flock", refuse)
    with building(tmp_path / "mis"):
        pass
    assert left_in(tmp_path) == set()


def test_a_place_where_nothing_can_be_written_is_named_as_it_was_given(tmp_path: Path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "mis"
    with pytest.raises(StorageError, match=f"^{out}: a file is where a folder has to be; "), building(out):
        pass
