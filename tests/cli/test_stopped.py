"""Commands that are told to stop, by Ctrl-C or SIGTERM: what each says of its work, and what it leaves behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from asking import INSPECT_WARNS, REFUSAL, inspect_inside, serving
from chat_server import later, say
from mis_process import finish, mis, wait_until
from samples import sample_dataset

from mis_dataset.formats import export

pytestmark = list(INSPECT_WARNS)

STOPS = pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
HELD_UP = """
import os, sys, time

def hold(event, arguments):
    if event == "open" and str(arguments[0]).startswith({place!r}) and not os.path.exists({mark!r}):
        os.mkdir({mark!r})
        time.sleep(60)

sys.addaudithook(hold)
"""
"""A ``sitecustomize`` module that holds a command up in the middle: where it first opens a file below a place."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_dataset(tmp_path_factory.mktemp("dataset"), families=6)


@STOPS
@pytest.mark.parametrize("command", ["export", "import", "validate"])
def test_what_keeps_nothing_says_so_and_leaves_nothing(
    dataset: Path, tmp_path: Path, command: str, number: int, code: int, said: str
):
    place, mark, late = tmp_path / "place", tmp_path / "mark", tmp_path / "late"
    place.mkdir()
    late.mkdir()
    export(dataset, "llava", tmp_path / "llava")
    arguments = {
        "export": ["export", str(dataset), "--format", "llava", "--out", str(place / "out")],
        "import": ["import", "llava", str(tmp_path / "llava"), "--out", str(place / "out")],
        "validate": ["validate", str(dataset)],
    }[command]
    held = HELD_UP.format(place=str(dataset if command == "validate" else place), mark=str(mark))
    (late / "sitecustomize.py").write_text(held)
    with mis(arguments, paths=[late]) as process:
        wait_until(mark.exists)
        process.send_signal(number)
        done = finish(process)
    assert done.code == code
    assert done.err.endswith(f"{said}; nothing is kept: the same command begins anew\n")
    assert "Traceback" not in done.err
    assert list(place.iterdir()) == []


@STOPS
def test_an_evaluation_goes_on_from_there(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, said: str
):
    with inspect_inside(monkeypatch, tmp_path), serving(lambda call: later(say(REFUSAL), 0.1)) as server:
        model = ["--model", "openai-api/tested/vlm", "--base-url", server.base_url, "--max-connections", "1"]
        command = ["evaluate", *model, "--data", str(dataset), "--out", str(tmp_path / "out")]
        with mis(command) as process:
            wait_until(lambda: len(server.calls) >= 4)
            process.send_signal(number)
            done = finish(process)
        assert done.code == code, done.err
        assert f"{said}; finished work is kept: the same command goes on from there" in done.err
        assert "Traceback" not in done.err
        before = len(server.calls)
        with mis(command) as process:
            assert finish(process).code == 0
        in_all = len({str(call.body) for call in server.calls})
        # What was in flight is asked again, what was answered is not.
        assert len(server.calls) - before < in_all
