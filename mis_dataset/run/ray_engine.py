"""The Ray engine: shards are made by actors, on as many machines as the cluster has.

One actor per renderer (with a GPU of its own, if the renderer wants one), and a few for each stage that asks servers.
What travels are the names of shards: records and pixels lie in the work folder, or where storage is named, which all
machines reach. When an actor is lost with its machine, another takes its shard over and goes on from what the ledger
kept.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock
from typing import Any
from uuid import uuid4

from mis_dataset.backends import require
from mis_dataset.crew import Crew
from mis_dataset.errors import MisError
from mis_dataset.ledger import Ledger
from mis_dataset.recipe import Recipe
from mis_dataset.records import SHARDED_STAGES
from mis_dataset.run.belt import Piece, StoppedError
from mis_dataset.run.clerk import Clerk, RemoteLedger
from mis_dataset.run.draw import Tick
from mis_dataset.run.local import LEDGER, Engine
from mis_dataset.run.place import Place
from mis_dataset.run.workbench import Workbench
from mis_dataset.stopping import stoppable

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2
_LONGEST_KNOCK_S = 10.0
_PATIENCE_S = 20.0
"""How long what is in flight is waited for when the build stops."""


@dataclass(frozen=True)
class RaySettings:
    """How a cluster is used; nothing here changes a byte of the dataset."""

    address: str | None = None
    """Of a running cluster, ``auto`` for the one that this machine belongs to; None: this machine alone."""
    renderers: int | None = None
    """Actors that draw; None: one per GPU that the cluster has now, if the renderer wants one, else per two CPUs."""
    askers: int | None = None
    """Actors for each later stage; None: one per 16 renderers. One keeps as many requests in flight as its servers
    bear, but is idle for a moment between two shards."""


class Worker:
    """Makes shards; the class of the actors.

    Args:
        name: among the build's workers.
        recipe, place: what is built, and where.
        clerk: the name of the actor that keeps the ledger.
        environment: variables to set, such as keys.
        path: of modules: own backends are found where the driver finds them.
    """

    def __init__(
        self, name: str, recipe: Recipe, place: Place, clerk: str, environment: Mapping[str, str], path: Sequence[str]
    ) -> None:
        os.environ.update(environment)
        # Into the worker's own log file: how it uses its GPU, and how long drawing will take.
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("mis_dataset").setLevel(logging.INFO)
        sys.path.extend(folder for folder in path if folder not in sys.path)
        self._crew = Crew.of(recipe)
        self._place = place
        self._ledger = RemoteLedger(require("ray", "ray").get_actor(clerk), name)
        self._stopping = Event()
        self._at_work = Lock()

    def ping(self) -> None:
        """Answer."""

    def make(self, prints: Mapping[str, str], stage: str, source: Piece) -> Piece | MisError | None:
        """What `Workbench.make` gives or raises; None if the worker was told to stop."""
        try:
            stages = self._crew.stages(self._place.images)
            bench = Workbench(self._place.store, prints, stages, self._ledger, _nobody)
            # An actor that could not be reached for a while may still be at work when it is given another shard.
            with self._at_work, stoppable(self._tick):
                return bench.make(stage, source, self._tick)
        except StoppedError:
            return None
        except MisError as error:
            return error

    def stop(self) -> None:
        """End what is being made; what is in flight is kept."""
        self._stopping.set()

    def _tick(self, _: float = 0.0) -> None:
        if self._stopping.is_set():
            raise StoppedError


class RayEngine:
    """Has shards made by actors; see `ray_engine`."""

    def __init__(self, ledger: Ledger, pools: Mapping[str, _Pool]) -> None:
        self.ledger = ledger
        self._pools = pools

    def width(self, stage: str, /) -> int:
        """As many as the stage has actors."""
        return self._pools[stage].size

    def make(self, bench: Workbench, stage: str, source: Piece, tick: Tick) -> Piece:
        """Have an actor make it, and another one if that is lost; raises as `Engine.make` does."""
        result = self._pools[stage].have_done(lambda actor: actor.make.remote(bench.prints, stage, source), tick)
        if isinstance(result, MisError):
            raise result
        if result is None:
            raise StoppedError
        piece: Piece = result
        return piece


class _Pool:
    """Actors that do the same."""

    def __init__(self, ray: Any, actors: Sequence[Any]) -> None:
        self.size = len(actors)
        self.actors = actors
        self._ray = ray
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._starting = {actor: actor.ping.remote() for actor in actors}
        self._lock = Lock()

    def have_done(self, order: Callable[[Any], Any], tick: Tick) -> Any:
        """What an actor says to an order, and a second one if the first is lost."""
        from ray.exceptions import RayError, RayTaskError

        while True:
            actor = self._take(tick)
            answer = order(actor)
            try:
                while not self._ray.wait([answer], timeout=_LOOK_EVERY_S)[0]:
                    self._stop_if_told(tick, actor, answer)
                result = self._ray.get(answer)
            except RayTaskError as error:
                self._idle.put(actor)
                raise error.cause from error
            except RayError:
                with self._lock:
                    self._starting[actor] = actor.ping.remote()
            else:
                self._idle.put(actor)
                return result

    def _take(self, tick: Tick) -> Any:
        """An idle actor, once there is one."""
        while True:
            self._welcome()
            try:
                return self._idle.get(timeout=_LOOK_EVERY_S)
            except Empty:
                tick(0)

    def _welcome(self) -> None:
        """Take in the actors that have started, or started again.

        Raises:
            MisError: none ever will.
        """
        from ray.exceptions import ActorDiedError, RayError

        with self._lock:
            for actor, answer in list(self._starting.items()):
                if not self._ray.wait([answer], timeout=0)[0]:
                    continue
                del self._starting[actor]
                try:
                    self._ray.get(answer)
                    self._idle.put(actor)
                except ActorDiedError as error:
                    raise MisError(f"a Ray worker cannot start: {error}") from error
                except RayError:
                    self._starting[actor] = actor.ping.remote()

    def _stop_if_told(self, tick: Tick, actor: Any, answer: Any) -> None:
        try:
            tick(0)
        except StoppedError:
            actor.stop.remote()
            self._ray.wait([answer], timeout=_PATIENCE_S)
            raise


@contextmanager
def ray_engine(settings: RaySettings, recipe: Recipe, place: Place) -> Iterator[Engine]:
    """An engine on a Ray cluster, for a build of a recipe in a place whose storage all machines reach.

    Raises:
        BackendError: Ray is not installed.
        MisError: the cluster cannot be reached.
    """
    ray = require("ray", "ray")
    place = place.resolved()
    with _cluster(ray, settings.address), ExitStack() as ending:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # The file lies where the driver runs, and so does who keeps it.
        # By a name: Ray does not promise to start an actor again that was given another one itself.
        clerk_name = f"mis-clerk-{uuid4()}"
        keeper = ray.remote(Clerk).options(name=clerk_name, num_cpus=0, scheduling_strategy=here)
        clerk = keeper.remote(place.work / LEDGER, recipe.prices, recipe.limits)
        ending.callback(ray.kill, clerk)

        crew = Crew.of(recipe)
        environment = {name: os.environ[name] for name in crew.environment() if name in os.environ}
        path = [str(Path(folder).resolve()) for folder in sys.path]

        def hire(stage: str, count: int, resources: Mapping[str, float]) -> _Pool:
            kind = ray.remote(Worker).options(
                max_concurrency=2, max_restarts=-1, scheduling_strategy="SPREAD", **resources
            )
            actors = [
                kind.remote(f"{stage}-{number}", recipe, place, clerk_name, environment, path)
                for number in range(count)
            ]
            for actor in actors:
                ending.callback(ray.kill, actor)
            return _Pool(ray, actors)

        wants_gpu = getattr(crew.renderer, "wants_gpu", False) and getattr(crew.renderer, "device", "") != "cpu"
        renderers = renderers_to_hire(ray.cluster_resources(), settings, wants_gpu=wants_gpu)
        pools = {"render": hire("render", renderers, {"num_gpus" if wants_gpu else "num_cpus": 1})}
        for stage in SHARDED_STAGES[2:]:
            pools[stage] = hire(stage, settings.askers or ceil(renderers / 16), {"num_cpus": 0})
        ledger = RemoteLedger(clerk, "driver")
        with ledger.charging(""):
            yield RayEngine(ledger, pools)


def renderers_to_hire(there: Mapping[str, float], settings: RaySettings, *, wants_gpu: bool) -> int:
    """How many renderers to hire: as many as were asked for, or as a cluster has room for now.

    Raises:
        MisError: they want GPUs, and there are none, nor will there be.
    """
    if not wants_gpu:
        return settings.renderers or max(1, int(there.get("CPU", 0) / 2))
    gpus = int(there.get("GPU", 0))
    wanted = settings.renderers or gpus
    if settings.address is None and (wanted > gpus or not gpus):
        raise MisError(
            f"each renderer wants a GPU, and this machine has {gpus}; "
            + (f"say --workers {gpus}" if gpus else 'set device = "cpu" in [render]')
        )
    if not wanted:
        raise MisError(
            "the renderer wants a GPU, and the Ray cluster has none now; wait until its machines are up (ray status), "
            'say --workers N for N that will come, or set device = "cpu" in [render]'
        )
    if wanted > gpus:
        _log.warning("%d of %d renderers wait for GPUs that the cluster has not got yet", wanted - gpus, wanted)
    return wanted


@contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    """A connection to a cluster, which ends with the block unless it was there before."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _knock(address)
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise MisError(
            f"the Ray cluster {address or 'of this machine'} cannot be used: {error}; is it up? Try: ray status"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """See that somebody listens at ``host:port``, or ``ray://host:port``: Ray itself would try for many minutes.

    Raises:
        OSError: nobody does.
    """
    if found := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address or ""):
        socket.create_connection((found[1], int(found[2])), timeout=_LONGEST_KNOCK_S).close()


def _nobody(_: str) -> None:
    """Notes are the driver's to make."""
