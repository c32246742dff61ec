"""Keeping the libraries below quiet."""

from __future__ import annotations

import os

from mis_dataset.backends import require
from mis_dataset.finetune.devices import EXTRA


def hush(*, bars: bool) -> None:
    """Switch off the advice of the libraries below, and without ``bars`` their progress bars; errors still show.

    Going on from a checkpoint, the trainer warns of weights that it does not find; `load_model` has loaded them.
    """
    # Every process would warn of weights that have no share in a step, such as the projector's where no image is shown.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging = require("transformers", EXTRA).utils.logging
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
        require("datasets", EXTRA).disable_progress_bars()
