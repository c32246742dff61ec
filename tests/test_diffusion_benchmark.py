"""The benchmark's part for a GPU: its sizes are real, and its code runs, if only with tiny models on the CPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'diffusion'")
pytest.importorskip("diffusers", reason="needs the extra 'diffusion'")

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
    assert len(result.cells) == 8


def test_what_was_not_measured_says_so():
    table = gpu_table(tiny=True, only="no such model")
    assert [line.count("not measured") for line in table.splitlines()[2:5]] == [8, 8, 8]
