"""Training the base model from scratch: first its eyes, then its tongue."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.miniature.lessons import Batch, Course
from benchmarks.miniature.machine import Machine
from benchmarks.miniature.model import ASSISTANT, END, IMAGE, PATCH, USER
from benchmarks.miniature.pictures import SIDE, Album, tensor

BATCH = 64
_TOKENS = (SIDE // PATCH) ** 2
_IGNORED = -100

Tell = Callable[[str], None]


def train_tower(
    model: Any, album: Album, steps: int, *, seed: int, machine: Machine, tell: Tell, lr: float = 1.5e-3
) -> float:
    """Teach the vision tower to tell things apart, by a linear head that is then thrown away.

    It plays the part of the contrastive pre-training that towers of larger models bring along.

    Returns:
        The last loss.
    """
    import torch

    tower = model.model.vision_tower
    torch.manual_seed(seed)
    head = torch.nn.Linear(tower.config.hidden_size, len(album.names)).to(machine.device)
    rng = np.random.default_rng(seed)

    def losses() -> Iterator[Any]:
        while True:
            places = rng.integers(len(album.names), size=BATCH)
            seen = tower(tensor(album.pick(places, rng)).to(machine.device), output_hidden_states=True).hidden_states[
                -1
            ]
            yield torch.nn.functional.cross_entropy(head(seen.mean(1)), torch.from_numpy(places).to(machine.device))

    return _descend([*tower.parameters(), *head.parameters()], losses(), steps, lr, machine, "tower", tell)


def train_base(
    model: Any,
    processor: Any,
    album: Album,
    course: Course,
    steps: int,
    *,
    seed: int,
    machine: Machine,
    tell: Tell,
    lr: float = 2e-3,
) -> float:
    """Teach projector and decoder to read, to name and to help; the tower stays as it is, as it does in LLaVA.

    Every other batch is for reading; the others are for naming and, in the second half of the steps, by turns for
    helping.

    Returns:
        The last loss.
    """
    import torch

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    reading = course.reading(BATCH, rng)
    naming, helping = (course.shown(kind, BATCH, rng) for kind in ("naming", "helping"))
    model.model.vision_tower.requires_grad_(False)

    def losses() -> Iterator[Any]:
        for step in range(steps):
            late = step >= steps // 2
            batch = next(reading if step % 2 else helping if late and step % 4 else naming)
            yield model(
                **{name: value.to(machine.device) for name, value in encode(processor, batch, album, rng).items()}
            ).loss

    return _descend([p for p in model.parameters() if p.requires_grad], losses(), steps, lr, machine, "base", tell)


def encode(processor: Any, batch: Batch, album: Album, rng: np.random.Generator) -> dict[str, Any]:
    """A batch as the model's arguments, padded on the right; only answers count for the loss."""
    import torch

    tokenizer = processor.tokenizer
    prompts = [f"{USER}{IMAGE * (2 * _TOKENS)}{question}{ASSISTANT}" for question in batch.questions]
    asked = tokenizer(prompts, add_special_tokens=False)["input_ids"] if prompts else [[]] * len(batch.answers)
    answered = tokenizer([answer + END for answer in batch.answers], add_special_tokens=False)["input_ids"]
    length = max(len(one) + len(other) for one, other in zip(asked, answered, strict=True))
    ids = torch.full((len(asked), length), tokenizer.pad_token_id)
    labels = torch.full((len(asked), length), _IGNORED)
    for number, (prompt, answer) in enumerate(zip(asked, answered, strict=True)):
        end = len(prompt) + len(answer)
        ids[number, :end] = torch.tensor(prompt + answer)
        labels[number, len(prompt) : end] = torch.tensor(answer)
    encoded = {"input_ids": ids, "attention_mask": (ids != tokenizer.pad_token_id).long(), "labels": labels}
    shown = {"pixel_values": tensor(album.pick(batch.shown.reshape(-1), rng))} if len(batch.shown) else {}
    return encoded | shown


def _descend(
    parameters: list[Any], losses: Iterator[Any], steps: int, lr: float, machine: Machine, name: str, tell: Tell
) -> float:
    """AdamW with a short warm-up and a cosine to zero; gives the last loss."""
    import torch

    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.05, betas=(0.9, 0.98))
    warm = max(1, steps // 20)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))
        with machine.autocast():
            loss = next(losses)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            tell(f"{name}: step {step} of {steps}, loss {loss.item():.3f}")
    return float(loss.item())
