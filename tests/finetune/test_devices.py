"""Sharing a step's rows out to processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mis_dataset.errors import UsageError
from mis_dataset.finetune import FinetuneSettings, finetune
from mis_dataset.finetune.devices import check_devices, is_first_process
from mis_dataset.finetune.rows import fewer
from mis_dataset.finetune.source import read_source

Make = Callable[..., FinetuneSettings]

WATCHED = """
import json, os, sys
from pathlib import Path
from mis_dataset.cli import main
from mis_dataset.finetune.noise import hush
hush(bars=False)  # as the command does, before torch is there
from trl import SFTTrainer

notes, out = sys.argv.pop(1), sys.argv[sys.argv.index("--out") + 1]
seen, written, step = [], [], SFTTrainer.training_step

def watched_step(self, model, inputs, *rest):
    answers = [self.processing_class.tokenizer.decode(row[row != -100]) for row in inputs["labels"]]
    seen.append([int(self.state.epoch), *answers])
    return step(self, model, inputs, *rest)

def watch(event, arguments):
    writes = event == "open" and arguments[1] not in ("r", "rb", None)
    if (writes or event in ("os.mkdir", "os.rename", "os.remove")) and str(arguments[0]).startswith(out):
        written.append(str(Path(arguments[0]).relative_to(out)))

SFTTrainer.training_step = watched_step
sys.addaudithook(watch)
main()
Path(notes, os.environ["RANK"] + ".json").write_text(json.dumps({"seen": seen, "written": written}))
"""
"""The command line, and a note of what this process learns and writes."""

QUICK = {"method": "full", "batch_size": 2, "max_rows": 4, "epochs": 2, "max_steps": None}


@dataclass(frozen=True)
class Launched:
    """What a run of two processes left."""

    out: Path
    stdout: str
    stderr: str
    notes: list[dict[str, Any]]


@pytest.fixture(scope="module")
def launched(mis: Path, vlm: Path, tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """``mis finetune`` by `accelerate`, whose processes talk over gloo where there is no GPU."""
    folder = tmp_path_factory.mktemp("launched")
    (folder / "watched.py").write_text(WATCHED)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items() if value]
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
        *(folder / "watched.py", folder, "finetune", "--model", vlm, "--data", mis, "--out", folder / "out"),
        *("--learning-rate", "1e-2", *flags),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(folder), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    notes = [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]
    return Launched(folder / "out", done.stdout, done.stderr, notes)


def test_a_step_is_shared_out_evenly_or_not_at_all(settings: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    check_devices(settings(batch_size=32, device_batch_size=2))
    with pytest.raises(
        UsageError, match="24 rows a step cannot be shared out to 8 devices by 2; choose a multiple of 16"
    ):
        check_devices(settings(batch_size=24, device_batch_size=2))


def test_one_process_reports_and_writes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RANK", raising=False)
    assert is_first_process()
    monkeypatch.setenv("RANK", "1")
    assert not is_first_process()


# A step is a step, on however many devices; only the last rows of an epoch may not come out even.
def test_two_processes_learn_what_one_does(settings: Make, launched: Launched, tmp_path: Path):
    one = finetune(settings(**QUICK), tmp_path / "one").record
    two = json.loads((launched.out / "finetune.json").read_text())
    assert (two["training"]["devices"], two["fingerprint"]) == (2, one["fingerprint"])
    assert two["training"]["loss"] == pytest.approx(one["training"]["loss"], rel=1e-4)
    alone, together = (load_file(folder / "model.safetensors") for folder in (tmp_path / "one", launched.out))
    assert all(torch.allclose(alone[name], together[name], atol=1e-4) for name in alone)


def test_processes_share_out_an_epochs_rows(settings: Make, launched: Launched):
    wanted = settings(**QUICK)
    rows = fewer(read_source(wanted).rows, wanted)
    answers = Counter(f"{row.completion[0]['content'][0]['text']}<eos>" for row in rows)
    assert len(answers) == 4
    for epoch in (0, 1):
        shares = [[answer for at, answer in one["seen"] if at == epoch] for one in launched.notes]
        assert [len(share) for share in shares] == [2, 2]
        assert Counter(shares[0] + shares[1]) == answers


def test_the_first_process_writes(launched: Launched):
    first, second = (one["written"] for one in launched.notes)
    assert {"finetune.json", "README.md"} <= {path.removeprefix(".").removesuffix(".partial") for path in first}
    # Into a checkpoint, each puts the state of its own random numbers.
    assert [path for path in second if not path.startswith("checkpoints/checkpoint-")] == []
    assert not (launched.out / "checkpoints").exists()


def test_the_first_process_speaks(launched: Launched):
    lines = [line.partition(":")[0].partition(" (")[0] for line in launched.stdout.splitlines()]
    assert lines == ["4 rows", "step 1 of 4", "step 4 of 4", f"{launched.out} is ready"]
    assert "warning" not in launched.stderr.lower()
