"""Whole runs with the real trainer on a tiny model: what changes, what does not, and going on after a stop."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny_vlm import tiny_vlm
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback

from mis_dataset.errors import OutputError, TrainError, UsageError
from mis_dataset.finetune import FinetuneSettings, finetune
from mis_dataset.finetune.rows import REFUSAL
from mis_dataset.finetune.source import read_source
from mis_dataset.finetune.train import last_checkpoint, make_trainer

Make = Callable[..., FinetuneSettings]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoModelForImageTextToText.from_pretrained(folder).state_dict())


class StopsAt(TrainerCallback):
    """Raises at the beginning of a step, as Ctrl-C or a device would."""

    def __init__(self, step: int, error: BaseException) -> None:
        self.step, self.error = step, error

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise self.error


def test_full_training_changes_all_but_the_vision_tower(settings: Make, vlm: Path, tmp_path: Path):
    done = finetune(settings(method="full"), tmp_path / "out")
    before, after = weights_of(vlm), weights_of(tmp_path / "out")
    changed = {name for name, weights in before.items() if not torch.equal(weights, after[name])}
    assert {name for name in before if "vision_tower" not in name} == changed
    assert math.isfinite(done.record["training"]["loss"])
    assert done.record["training"]["steps"] == 3


# `peft` asks `transformers` by a name that it will drop in its version 6.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_adapter_changes_answers_and_not_the_model(settings: Make, vlm: Path, tmp_path: Path):
    before = {path.name: path.read_bytes() for path in vlm.iterdir()}
    finetune(settings(), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in vlm.iterdir()} == before
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    question = processor(text=["user: What?\nassistant: "], return_tensors="pt")
    plain = AutoModelForImageTextToText.from_pretrained(vlm)
    with torch.no_grad():
        base = plain(**question).logits
        tuned = PeftModel.from_pretrained(plain, tmp_path / "out").eval()(**question).logits
    assert not torch.allclose(base, tuned)
    # The projector is trained whole and travels with the adapter.
    kept = load_file(tmp_path / "out" / "adapter_model.safetensors")
    projector = next(weights for name, weights in kept.items() if name.endswith("projector.linear_1.weight"))
    assert not torch.equal(projector, weights_of(vlm)["model.multi_modal_projector.linear_1.weight"])
    assert not any("vision_tower" in name for name in kept)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_stopped_run_goes_on_and_ends_the_same(settings: Make, tmp_path: Path, method: str):
    wanted = settings(method=method, max_steps=4, checkpoint_steps=1)
    straight = finetune(wanted, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        finetune(wanted, tmp_path / "parts", callbacks=[StopsAt(2, KeyboardInterrupt())])
    told: list[str] = []
    done = finetune(wanted, tmp_path / "parts", on_event=told.append)
    assert "going on from checkpoint-2" in told
    for figure in ("steps", "loss", "last_loss"):
        assert done.record["training"][figure] == straight.record["training"][figure]
    name = "adapter_model.safetensors" if method == "lora" else "model.safetensors"
    whole, parts = (load_file(tmp_path / folder / name) for folder in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


class StopsAtTheEnd(TrainerCallback):
    """Raises when all steps are done and nothing is saved yet."""

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        raise KeyboardInterrupt


def test_a_run_that_was_stopped_before_saving_is_only_saved(settings: Make, tmp_path: Path):
    wanted = settings(method="full")
    straight = finetune(wanted, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        finetune(wanted, tmp_path / "parts", callbacks=[StopsAtTheEnd()])
    # Any further step would be stopped.
    done = finetune(wanted, tmp_path / "parts", callbacks=[StopsAt(3, AssertionError())])
    assert done.record["training"]["loss"] == straight.record["training"]["loss"]
    whole, parts = (weights_of(tmp_path / folder) for folder in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_checkpoint_that_was_being_written_is_not_used(tmp_path: Path):
    for step, is_whole in [(9, True), (10, True), (11, False)]:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if is_whole:
            (folder / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert last_checkpoint(tmp_path / "none") is None


# A step is a step, however few rows a device can hold.
def test_rows_on_a_device_at_a_time_do_not_matter(settings: Make, tmp_path: Path):
    for size in (1, 2):
        finetune(settings(method="full", device_batch_size=size), tmp_path / str(size))
    one, two = (weights_of(tmp_path / size) for size in ("1", "2"))
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)


def test_a_complete_run_is_left_as_it_is(settings: Make, tmp_path: Path):
    first = finetune(settings(), tmp_path / "out")
    files = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    # A tuning knob changes nothing of what is learnt.
    again = finetune(settings(device_batch_size=2), tmp_path / "out")
    assert (first.is_new, again.is_new) == (True, False)
    assert again.record == first.record
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


# A recipe says `epochs = 2`, a flag 2.0.
def test_a_number_is_the_same_number_however_it_is_written(settings: Make, tmp_path: Path):
    finetune(settings(epochs=2, weight_decay=0), tmp_path / "out")
    assert not finetune(settings(epochs=2.0, weight_decay=0.0), tmp_path / "out").is_new


def test_another_run_is_not_overwritten(settings: Make, tmp_path: Path):
    finetune(settings(), tmp_path / "out")
    with pytest.raises(OutputError, match="holds another run"):
        finetune(settings(learning_rate=1e-3), tmp_path / "out")
    with pytest.raises(OutputError, match="holds another run"):
        finetune(settings(labels="refusal"), tmp_path / "out")


# What a message advises must be possible: the first try leaves nothing that could be lost.
def test_a_run_that_never_began_does_not_keep_another_from_its_folder(settings: Make, tmp_path: Path):
    with pytest.raises(UsageError, match="but 50 fit"):
        finetune(settings(max_tokens=50), tmp_path / "out")
    assert finetune(settings(max_steps=1), tmp_path / "out").is_new


def test_a_run_with_checkpoints_keeps_its_folder(settings: Make, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        finetune(settings(checkpoint_steps=1), tmp_path / "out", callbacks=[StopsAt(2, KeyboardInterrupt())])
    with pytest.raises(OutputError, match="holds another run"):
        finetune(settings(max_steps=1), tmp_path / "out")


def test_a_folder_with_other_files_is_not_used(settings: Make, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        finetune(settings(), tmp_path)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_bfloat16_is_computed_in_where_it_is_asked_for(settings: Make, tmp_path: Path, method: str):
    rough, exact = (
        finetune(settings(method=method, precision=precision), tmp_path / precision).record["training"]
        for precision in ("bf16", "fp32")
    )
    assert rough["loss"] != exact["loss"]
    assert rough["loss"] == pytest.approx(exact["loss"], rel=0.02)


def test_text_alone_can_be_learnt(settings: Make, vlm: Path, tmp_path: Path):
    done = finetune(settings(method="full", images=False), tmp_path / "out")
    assert done.record["data"]["images"] == 0
    before, after = weights_of(vlm), weights_of(tmp_path / "out")
    # The projector is trained, but sees nothing to learn from.
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert unchanged == {name for name in before if "language_model" not in name and "lm_head" not in name}


def test_rows_with_and_without_images_can_be_mixed(settings: Make, tmp_path: Path):
    turns = [{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": "Hello."}]
    (tmp_path / "chat.json").write_text(json.dumps([{"conversations": turns}] * 9))
    mixed = settings(general=str(tmp_path / "chat.json"), general_share=0.5, batch_size=10, device_batch_size=10)
    done = finetune(mixed, tmp_path / "out")
    assert done.record["data"]["rows"] == {"harmful": 3, "benign": 2, "general": 5}
    assert math.isfinite(done.record["training"]["loss"])


# Of a row of hundreds of tokens, most of them images and question, only the answer is to be predicted.
def test_only_the_answer_counts_for_the_loss(settings: Make, vlm: Path, tmp_path: Path):
    processor = AutoProcessor.from_pretrained(vlm)
    model = AutoModelForImageTextToText.from_pretrained(vlm)
    wanted = settings(labels="refusal", twins=False)
    trainer = make_trainer(model, processor, read_source(wanted).rows, wanted, tmp_path, lambda _: None, ())
    for batch in trainer.get_train_dataloader():
        for labels in batch["labels"]:
            assert processor.tokenizer.decode(labels[labels != -100]) == f"{REFUSAL}<eos>"


def test_what_was_trained_on_is_written_down(settings: Make, mis: Path, tmp_path: Path):
    finetune(settings(), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "finetune.json").read_text())
    assert record["data"]["fingerprint"] == json.loads((mis / "manifest.json").read_text())["fingerprint"]
    assert record["data"]["rows"] == {"harmful": 3, "benign": 2, "general": 0}
    assert record["settings"]["learning_rate"] == 1e-2
    assert record["libraries"]["torch"] == torch.__version__
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "finetune.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    # Paths of whoever trained are nobody's business.
    for name in ("README.md", "finetune.json"):
        assert str(mis.parent) not in (tmp_path / "out" / name).read_text()


def test_a_row_that_does_not_fit_the_context_is_named_before_training(settings: Make, tmp_path: Path):
    small = tiny_vlm(tmp_path / "small", context=256)
    with pytest.raises(UsageError, match=r"row mis-\w+ takes \d+ tokens, \d+ of them for its \d images, but 256 fit"):
        finetune(settings(model=str(small)), tmp_path / "out")


def test_too_little_memory_comes_with_a_hint(settings: Make, tmp_path: Path):
    no_memory = StopsAt(1, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(TrainError, match="lower device_batch_size or max_side"):
        finetune(settings(), tmp_path / "out", callbacks=[no_memory])


def test_a_loss_that_is_no_number_is_an_error(settings: Make, tmp_path: Path):
    with pytest.raises(TrainError, match="lower learning_rate"):
        finetune(settings(method="full", learning_rate=1e30), tmp_path / "out")
    assert not (tmp_path / "out" / "finetune.json").exists()
