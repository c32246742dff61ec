import pytest
import torch

from benchmarks.miniature.machine import Machine


@pytest.mark.parametrize(("bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_matrices_are_multiplied_as_precisely_as_the_machine_says(bf16: bool, dtype: torch.dtype):
    with Machine("cpu", bf16).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_a_machine_names_its_precision():
    assert [str(Machine("cpu")), str(Machine("cuda", bf16=True))] == ["cpu, float32", "cuda, bfloat16 autocast"]
