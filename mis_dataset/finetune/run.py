"""One fine-tuning run, from settings to a folder with a model or an adapter."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mis_dataset.finetune.card import CARD, render_card
from mis_dataset.finetune.context import check_fits, context_of, longest_row
from mis_dataset.finetune.devices import check_devices, is_first_process
from mis_dataset.finetune.general import general_rows
from mis_dataset.finetune.model import load_model, load_processor
from mis_dataset.finetune.record import (
    CHECKPOINTS,
    begin,
    make_record,
    read_record,
    run_fingerprint,
    short_name,
    write_record,
)
from mis_dataset.finetune.settings import FinetuneSettings
from mis_dataset.finetune.source import read_source
from mis_dataset.finetune.survey import survey
from mis_dataset.finetune.train import last_checkpoint, make_trainer, train
from mis_dataset.run.shards import storage_error


@dataclass(frozen=True)
class Finetuned:
    """What a run came to."""

    out: Path
    record: dict[str, Any]
    """The content of ``finetune.json``."""
    is_new: bool
    """Whether this call finished it; otherwise it was complete already."""


def finetune(
    settings: FinetuneSettings,
    out: Path,
    *,
    on_event: Callable[[str], None] = lambda _: None,
    callbacks: Sequence[Any] = (),
) -> Finetuned:
    """Train a model, or go on with training it.

    Under ``accelerate launch``, every process calls this and the first one writes.

    Args:
        settings: what to do.
        out: the folder for the model or adapter; holds the checkpoints too until it is complete.
        on_event: is told in words how it goes.
        callbacks: more callbacks of `transformers`, such as one that logs somewhere.

    Raises:
        UsageError: the model, the data or the settings do not fit together.
        TrainError: the device is too small, or the loss is no number any more.
        DatasetError: rows cannot be learnt; every one is named.
        OutputError: ``out`` holds something else.
        StorageError: the disk is full, or something cannot be written.
        BackendError: the extra ``finetune`` is not installed.
    """
    check_devices(settings)
    processor, config = load_processor(settings)
    source = read_source(settings)
    rows = [*source.rows, *general_rows(settings, len(source.rows))]
    seen = survey(rows, settings.max_side)
    if is_first_process():  # the others would find the folder half marked
        begin(out, run_fingerprint(settings, seen))
    if record := read_record(out):
        return Finetuned(out, record, is_new=False)

    tell = on_event if is_first_process() else lambda _: None
    kinds = Counter(row.kind for row in rows)
    longest = longest_row(rows, seen, processor, settings.max_side)
    tell(
        f"{len(rows):,} rows ({kinds['harmful']:,} harmful, {kinds['benign']:,} benign, {kinds['general']:,} general), "
        f"the longest of {longest.tokens:,} tokens"
    )
    check_fits(longest, context_of(config, settings.max_tokens))

    resume = last_checkpoint(out / CHECKPOINTS)
    if resume:
        tell(f"going on from {resume.name}")
    model = load_model(settings, resume)
    trainer = make_trainer(model, processor, rows, settings, out / CHECKPOINTS, tell, callbacks)
    training = train(trainer, resume)

    record = make_record(
        settings,
        source,
        rows,
        seen,
        longest,
        training,
        {
            "name": short_name(settings.model) or "",
            "revision": getattr(config, "_commit_hash", None) or "",
            "class": (config.architectures or [config.model_type])[0],
        },
    )
    try:
        trainer.save_model(str(out))
        if is_first_process():
            # A pickle of the trainer's settings, which nobody should have to trust.
            (out / "training_args.bin").unlink(missing_ok=True)
            (out / CARD).write_text(render_card(record), encoding="utf-8")
            write_record(out, record)
            shutil.rmtree(out / CHECKPOINTS)
    except OSError as error:
        raise storage_error(error, out) from error
    trainer.accelerator.wait_for_everyone()
    return Finetuned(out, record, is_new=True)
