"""The benchmark's part for a GPU: its sizes are real, and its code runs, if only with tiny models on the CPU."""

from __future__ import annotations

import dataclasses
import sys

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'diffusion'")
pytest.importorskip("diffusers", reason="needs the extra 'diffusion'")

from benchmarks.diffusion import main  # noqa: E402
from benchmarks.diffusion_gpu import SIZES, Size, denoiser_of_size, gpu_table, measure_size, shrunk  # noqa: E402

NAMES = [size.name for size in SIZES]


@pytest.mark.parametrize(
    ("size", "parameters"),
    # As counted in the published weights.
    list(zip(SIZES, [8_056_627_520, 2_243_171_520, 2_567_463_684], strict=True)),
    ids=NAMES,
)
def test_denoisers_have_as_many_parameters_as_the_published_ones(size: Size, parameters: int):
    with torch.device("meta"):
        assert sum(part.numel() for part in denoiser_of_size(size).parameters()) == parameters


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("size", [SIZES[1], SIZES[2]], ids=[NAMES[1], NAMES[2]])
def test_it_runs_at_tiny_size(size: Size):
    result = measure_size(shrunk(size), "cpu")
    assert min(result.naive, result.batched, result.ours, result.flops_share) > 0
    assert 0 <= result.idle < 1
    assert len(result.cells) == 9


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_what_was_not_measured_says_so():
    *table, empty, machine = gpu_table()
    assert [line.count("not measured") for line in table] == [0, 0, 9, 9, 9]
    assert (empty, machine.partition(";")[0]) == ("", "No GPU was at hand")


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_a_model_that_fails_says_why_and_the_others_go_on():
    # Tokens of another width than the denoiser reads.
    broken = dataclasses.replace(SIZES[1], name="broken", denoiser={**SIZES[1].denoiser, "in_channels": 5})
    _, _, failed, whole, *_ = gpu_table([broken, SIZES[2]], tiny=True)
    assert failed.startswith("| broken | failed: ")
    assert failed.count("|") == whole.count("|") == 11
    assert "failed" not in whole


def test_lines_come_as_they_are_known():
    lines = gpu_table([dataclasses.replace(SIZES[1], denoiser={})], tiny=True)
    assert next(lines).startswith("| model | naive img/s |")


def test_a_model_that_is_not_there_is_a_mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["benchmarks.diffusion", "--only", "SD4"])
    with pytest.raises(SystemExit):
        main()
    assert "invalid choice: 'SD4'" in capsys.readouterr().err
