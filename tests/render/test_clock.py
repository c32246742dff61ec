from __future__ import annotations

import itertools
import logging

import pytest

from mis_dataset.render._clock import Clock, duration


@pytest.mark.parametrize(
    ("step_s", "level", "message"),
    [
        # 10 steps of 2 s for a batch of 4 are 5 s an image.
        (2.0, logging.INFO, "about 5.0 s an image on cpu, decoding not counted: 100 s for the 18 images of this shard"),
        (200.0, logging.WARNING, "about 8.3 min an image on cpu, decoding not counted: 2.8 h for the 18 images"),
    ],
)
def test_the_second_step_tells_how_long_it_will_take(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step_s: float, level: int, message: str
):
    # The first step, 60 s here, compiles and warms up: what lies between the first two steps' ends is one step.
    ends = itertools.chain([0.0, 60.0, 60.0 + step_s])
    monkeypatch.setattr("time.monotonic", lambda: next(ends, 1e6))
    # Five batches, of which the last is filled up.
    clock = Clock("cpu", steps=10, batch=4, images=18)
    with caplog.at_level(logging.INFO, logger="mis_dataset"):
        for step in range(10):
            assert clock.step(None, step, None, {"latents": 1}) == {"latents": 1}
        clock.done()
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()[: len(message)]) == (level, message)


def test_of_a_single_step_the_whole_call_is_timed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    times = iter([100.0, 102.0, 103.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times, 1e6))
    clock = Clock("cpu", steps=1, batch=2, images=20)
    with caplog.at_level(logging.INFO, logger="mis_dataset"):
        clock.step(None, 0, None, {})
        clock.done()
    assert caplog.messages == [
        "about 1.5 s an image on cpu, the start of the first included: 30 s for the 20 images of this shard"
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0441, "0.044 s"), (0.44, "0.44 s"), (4.44, "4.4 s"), (12.2, "12 s"), (210.0, "3.5 min"), (97_200.0, "27.0 h")],
)
def test_durations_are_told_in_a_unit_that_fits(seconds: float, text: str):
    assert duration(seconds) == text


@pytest.mark.parametrize(("device", "waits"), [("cpu", []), ("cuda:1", ["cuda:1"] * 2), ("mps", ["mps"] * 2)])
def test_a_gpu_is_waited_for_before_the_clock_is_read(monkeypatch: pytest.MonkeyPatch, device: str, waits: list[str]):
    pytest.importorskip("torch", reason="needs the extra 'diffusion'")
    waited: list[str] = []
    monkeypatch.setattr("torch.cuda.synchronize", waited.append)
    monkeypatch.setattr("torch.mps.synchronize", lambda: waited.append("mps"))
    clock = Clock(device, steps=3, batch=1, images=1)
    for step in range(3):
        clock.step(None, step, None, {})
    assert waited == waits
