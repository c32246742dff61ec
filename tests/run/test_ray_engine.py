"""Builds on a real Ray cluster of two nodes on this machine: same bytes, and a lost node costs nothing twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import ray
from chat_server import ChatServer
from lab import seen
from mis_process import build_command, finish, mis
from ray.cluster_utils import Cluster
from recipes import lasting, tiny
from served_teacher import served, teacher_says

from mis_dataset.errors import MisError, StorageError
from mis_dataset.pipeline import build
from mis_dataset.recipe import Recipe
from mis_dataset.run.clerk import RemoteLedger
from mis_dataset.run.local import EngineKind
from mis_dataset.run.monitor import load_progress
from mis_dataset.run.place import Place
from mis_dataset.run.ray_engine import RaySettings, ray_engine, renderers_to_hire

CONCURRENCY = 2


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    try:
        yield nodes
    finally:
        nodes.shutdown()


def on(cluster: Cluster) -> EngineKind:
    return partial(ray_engine, RaySettings(cluster.address, renderers=2))


def slow(folder: Path, server: ChatServer, screen: str = "") -> Recipe:
    """A recipe whose images take a while, and are counted; so are requests, by the server."""
    text = served(server, screen=screen)
    text = text.replace('"pictogram"\nsize = 64', f'"lab:Sleepy"\nlog = "{folder / "drawn.log"}"')
    text = text.replace('model = "m"', f'model = "m"\nconcurrency = {CONCURRENCY}')
    return tiny(folder, text)


def test_two_nodes_make_the_same_bytes_as_one_process(tmp_path: Path, cluster: Cluster):
    with ChatServer(teacher_says) as server:
        recipe = slow(tmp_path, server)
        build(recipe, tmp_path / "local", tmp_path / "local_work")
        there = len(server.calls)
        build(recipe, tmp_path / "ray", tmp_path / "ray_work", engine=on(cluster))
    assert lasting(tmp_path / "ray") == lasting(tmp_path / "local")
    # What the workers' requests came to is known where the build is watched.
    progress = load_progress(tmp_path / "ray_work", tmp_path / "ray")
    assert progress
    assert sum(one["answered"] for one in progress.told["servers"]) == len(server.calls) - there


def test_a_node_that_dies_costs_nothing_twice(tmp_path: Path, cluster: Cluster):
    with ChatServer(teacher_says) as server:
        recipe = slow(tmp_path, server)
        log = tmp_path / "drawn.log"
        (lost,) = (node for node in cluster.list_all_nodes() if not node.is_head())

        def pull_the_plug() -> None:
            while len(seen(log)) < 8:
                time.sleep(0.01)
            cluster.remove_node(lost, allow_graceful=False)

        killer = threading.Thread(target=pull_the_plug)
        killer.start()
        build(recipe, tmp_path / "ray", tmp_path / "ray_work", engine=on(cluster))
        killer.join()
        drawn, asked = Counter(seen(log)), Counter(str(call.body) for call in server.calls)
        build(recipe, tmp_path / "local", tmp_path / "local_work")
    # What was on the way when the node died: one image in the making and those that waited for the encoders.
    assert sum(drawn.values()) - len(drawn) <= 10
    assert sum(asked.values()) - len(asked) <= CONCURRENCY
    assert lasting(tmp_path / "ray") == lasting(tmp_path / "local")


def test_trouble_on_a_worker_reaches_the_caller_as_it_is(tmp_path: Path, cluster: Cluster):
    with ChatServer(teacher_says) as server:
        recipe = slow(tmp_path, server, screen=f'stops_after = 3\nlog = "{tmp_path / "rows.log"}"')
        with pytest.raises(MisError, match="the screener stumbles"):
            build(recipe, tmp_path / "mis", tmp_path / "work", engine=on(cluster))


def ask_for_a_while(ledger: RemoteLedger) -> None:
    """Ask for the costs again and again: an actor dies a moment after it is told to."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        ledger.costs()


def test_a_keeper_of_the_ledger_that_is_lost_is_said(tmp_path: Path, cluster: Cluster):
    place = Place(tmp_path / "work")
    with ray_engine(RaySettings(cluster.address, renderers=1), tiny(tmp_path), place) as engine:
        assert isinstance(engine.ledger, RemoteLedger)
        ray.kill(engine.ledger.clerk)
        with pytest.raises(StorageError, match="the process that keeps the ledger was lost"):
            ask_for_a_while(engine.ledger)


def test_workers_are_such_as_ray_promises_to_start_again(tmp_path: Path):
    # It says so on the process's own standard error, where it does not.
    tiny(tmp_path)
    with mis([*build_command(tmp_path), "--engine", "ray", "--quiet"]) as process:
        done = finish(process)
    assert done.code == 0
    assert "restart" not in done.err


@pytest.mark.parametrize(
    ("gpus", "settings", "renderers"),
    [
        (4, RaySettings(), 4),
        (4, RaySettings(renderers=2), 2),
        (4, RaySettings("auto"), 4),
        (0, RaySettings("auto", renderers=8), 8),  # they will come
    ],
)
def test_renderers_that_want_gpus_are_as_many_as_there_are_or_as_was_asked_for(
    gpus: int, settings: RaySettings, renderers: int
):
    assert renderers_to_hire({"CPU": 16, "GPU": gpus}, settings, wants_gpu=True) == renderers


@pytest.mark.parametrize(
    ("gpus", "settings", "remedy"),
    [
        (0, RaySettings(), 'set device = "cpu"'),
        (0, RaySettings(renderers=2), 'set device = "cpu"'),  # nobody will bring one to a cluster that begins here
        (1, RaySettings(renderers=2), "say --workers 1"),
        (0, RaySettings("auto"), "wait until its machines are up"),
    ],
)
def test_renderers_that_would_wait_for_ever_are_refused(gpus: int, settings: RaySettings, remedy: str):
    with pytest.raises(MisError, match=remedy):
        renderers_to_hire({"CPU": 16, "GPU": gpus}, settings, wants_gpu=True)


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path):
    kind = partial(ray_engine, RaySettings("127.0.0.1:1"))
    with pytest.raises(MisError, match=r"the Ray cluster 127\.0\.0\.1:1 cannot be used"):
        build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", engine=kind)
