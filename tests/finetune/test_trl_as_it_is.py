"""TRL trains on what ``load_dataset("mis")`` gives, as it is: no formatting, no collator, no column of its own."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

PAGE = (Path(__file__).parents[2] / "docs" / "use_it_with.md").read_text(encoding="utf-8")


@pytest.fixture
def here(mis: Path, vlm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has the dataset as ``mis`` and a model as ``my-vlm``."""
    (tmp_path / "mis").symlink_to(mis)
    (tmp_path / "my-vlm").symlink_to(vlm)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The default settings of `trl` are not yet those that `transformers` asks for, nor made for machines without GPUs.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing:FutureWarning")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_snippet_of_the_docs_trains(here: Path):
    snippet = next(code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "SFTTrainer" in code)
    names: dict = {}
    exec(compile(snippet, "use_it_with.md", "exec"), names)
    trainer = names["trainer"]
    assert trainer.state.global_step == 2
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    # The images had a part in it: only through them does the projector get a gradient.
    before = type(trainer.model).from_pretrained(here / "my-vlm").state_dict()
    after = trainer.model.state_dict()
    moved = [name for name in before if "projector" in name and not torch.equal(before[name], after[name].cpu())]
    assert moved
