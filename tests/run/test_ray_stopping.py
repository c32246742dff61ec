"""Ctrl-C where a Ray worker waits for one slow answer: it asks nothing further, and keeps what is in flight."""

import os
import signal
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from chat_server import Call, ChatServer, Reply, later
from recipes import tiny
from served_teacher import served, teacher_says

from mis_dataset.pipeline import build
from mis_dataset.run.ray_engine import RaySettings, ray_engine


def test_a_worker_that_waits_for_one_slow_answer_is_told_to_stop(tmp_path: Path):
    def script(call: Call) -> Reply:
        return later(teacher_says(call), 600 if call.number == 0 else 0.5)

    def interrupt() -> None:
        while len(server.calls) < 3:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    with ChatServer(script) as server:
        text = served(server).replace("shard_size = 3", "shard_size = 100")
        recipe = tiny(tmp_path, text.replace('model = "m"', 'model = "m"\nconcurrency = 2\ngrace_s = 3.0'))
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            build(recipe, tmp_path / "mis", tmp_path / "work", engine=partial(ray_engine, RaySettings(renderers=1)))
        interrupting.join()
        asked = len(server.calls)

        server.script = teacher_says
        build(recipe, tmp_path / "mis", tmp_path / "work")
        # It may take a second or two until the worker hears of it.
        assert asked < 12 < len(server.calls)
        # The slow one alone was given up.
        assert Counter(Counter(str(call.body) for call in server.calls).values())[2] == 1
