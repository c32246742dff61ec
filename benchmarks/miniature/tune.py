"""Fine-tuning a copy of the base model with TRL, on rows as the dataset has them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.miniature.machine import Machine
from benchmarks.miniature.variants import Example


def fine_tune(
    base: Any,
    processor: Any,
    examples: Sequence[Example],
    work: Path,
    *,
    epochs: float,
    seed: int,
    machine: Machine,
    lr: float = 1e-3,
) -> Any:
    """A fine-tuned copy of ``base``; projector and decoder learn, the tower stays as it is (as in the MIS paper)."""
    import torch
    from datasets import Dataset, Features, Image, List, Value
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    part = {"type": Value("string"), "text": Value("string")}
    features = Features({"images": List(Image()), "messages": List({"role": Value("string"), "content": List(part)})})
    data = Dataset.from_list(
        [{**one, "images": [{"bytes": image, "path": None} for image in one["images"]]} for one in examples],
        features=features,
    )
    torch.manual_seed(seed)
    model = copy.deepcopy(base)
    model.train()
    settings = SFTConfig(
        output_dir=str(work),
        seed=seed,
        use_cpu=machine.device == "cpu",
        bf16=machine.bf16,
        num_train_epochs=epochs,
        per_device_train_batch_size=16,
        learning_rate=lr,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        max_length=None,
        assistant_only_loss=True,
        activation_checkpointing=False,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = SFTTrainer(model, settings, train_dataset=data, processing_class=processor)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return model
