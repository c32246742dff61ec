"""The same work for several items side by side, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess


def side_by_side(work: Callable[[int], object], items: Iterable[int]) -> None:
    """Call ``work`` for every item; it has to be fit for pickling, and what it returns is lost.

    Up to two processes share a core, so that none is idle while the last item is done: three of equal length take two
    cores half of three times that length, not twice it. No process outlives this call, interrupted or not.

    Raises:
        SystemExit: if an item's process fails, which has then said why.
    """
    waiting, running = list(items), dict[int, BaseProcess]()
    most = 2 * (os.cpu_count() or 1)
    spawning = multiprocessing.get_context("spawn")
    try:
        while waiting or running:
            while waiting and len(running) < most:
                item = waiting.pop(0)
                running[item] = spawning.Process(target=_alone, args=(work, item), daemon=True)
                running[item].start()
            wait([process.sentinel for process in running.values()])
            for item in [item for item, process in running.items() if not process.is_alive()]:
                if status := running.pop(item).exitcode:
                    raise SystemExit(f"{item}: ended with exit status {status}")
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _alone(work: Callable[[int], object], item: int) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent is interrupted too, and ends this process.
    torch.set_num_threads(1)  # So small, models gain little by more; and no result depends on the number of cores.
    work(item)
