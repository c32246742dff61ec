import math
import multiprocessing
import signal
import time

import pytest

from benchmarks.miniature.parallel import side_by_side


def test_a_failure_is_told(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="-1: ended with exit status 1"):
        side_by_side(math.sqrt, [-1])

    assert "ValueError" in capfd.readouterr().err


def test_nothing_goes_on_once_interrupted():
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(KeyboardInterrupt):
            side_by_side(time.sleep, [60, 61])
    finally:
        signal.signal(signal.SIGALRM, before)

    assert multiprocessing.active_children() == []
