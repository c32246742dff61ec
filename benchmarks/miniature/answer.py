"""Asking a model: batches of questions with two images each, decoded greedily."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from benchmarks.miniature.machine import Machine

BATCH = 96
MAX_WORDS = 100


def answers(model: Any, processor: Any, asked: Sequence[tuple[str, Sequence[bytes]]], machine: Machine) -> list[str]:
    """What the model says to each question about encoded images, in order."""
    import torch
    from PIL import Image

    model.eval()
    order = sorted(range(len(asked)), key=lambda number: len(asked[number][0]))
    said: dict[int, str] = {}
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        conversations = [
            [
                {
                    "role": "user",
                    "content": [
                        *({"type": "image", "image": Image.open(io.BytesIO(image))} for image in asked[number][1]),
                        {"type": "text", "text": asked[number][0]},
                    ],
                }
            ]
            for number in chosen
        ]
        batch = processor.apply_chat_template(
            conversations,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            processor_kwargs={"padding": True, "padding_side": "left"},
        ).to(model.device)
        with torch.inference_mode(), machine.autocast():
            out = model.generate(**batch, max_new_tokens=MAX_WORDS, do_sample=False)
        new = out[:, batch["input_ids"].shape[1] :]
        said |= zip(chosen, processor.tokenizer.batch_decode(new, skip_special_tokens=True), strict=True)
    return [said[number] for number in range(len(asked))]
