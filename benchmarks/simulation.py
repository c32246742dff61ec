"""A discrete-event simulation of the scheduler of `mis build --engine ray`.

What is simulated: one driver hands shards to workers, the lowest number first. A stage's shard can be worked on once
the stage before has finished it; who has finished a shard while too many wait for the next stage waits, too. A worker
does one shard at a time. Machines die; what their workers had in hand is handed out again. Servers that all workers ask
take so many requests a second.

What is not: composing, splitting and assembling, which one process does alone; network and storage, which are taken to
keep up.

Every draw is named by what it decides, so runs are repeatable, and two settings meet the same stragglers and deaths.
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field, replace

from mis_dataset.seeds import stable_random

HOUR = 3600.0
_TAIL, _WORST = 1.5, 20.0
"""Stragglers are slower by a factor of a Pareto distribution with this exponent, up to this much."""


@dataclass(frozen=True)
class Pool:
    """The workers of one stage."""

    stage: str
    workers: int
    seconds: float
    """What one family takes a worker."""
    start_s: float
    """What a shard takes on top of that, whatever its size: reading it, and waiting for the last answers."""
    requests: float = 0.0
    """What one family asks of servers that all workers share."""
    rate: float = math.inf
    """Requests a second that these servers take."""


POOLS = (
    # A GPU each: 3.96 images of a family as `mis plan` reckons, 4 s an image.
    Pool("render", 700, seconds=15.8, start_s=5.0),
    # 2.2 labels of 12 s and as many critiques of 5 s, 32 in flight.
    Pool("teach", 150, seconds=1.17, start_s=17.0, requests=4.4, rate=300.0),
    # 12.6 grades of 2.5 s by two experts, 32 in flight.
    Pool("screen", 150, seconds=0.98, start_s=5.0, requests=12.6, rate=800.0),
)


@dataclass(frozen=True)
class Trouble:
    """What goes wrong."""

    spread: float = 0.5
    """Of the logarithm of a shard's time; the mean stays what it is."""
    straggling: float = 0.02
    """The share of shards that are slower still."""
    lifetime_s: float = 12 * HOUR
    """Of a machine, on average."""
    restart_s: float = 600.0
    """Until another machine is in its place, its models loaded."""
    detect_s: float = 30.0
    """Until the driver knows."""
    machine: int = 8
    """Workers on one machine."""
    batch: int | None = 4
    """Families whose work dies with a worker; what it had finished before is kept. None: the whole shard's."""


CALM = Trouble(spread=0.0, straggling=0.0, lifetime_s=math.inf)


@dataclass(frozen=True)
class Job:
    """What is to be done, and by whom."""

    families: int
    """A family is a harmful row and its twin."""
    shard_size: int = 32
    """Families in a shard."""
    pools: tuple[Pool, ...] = POOLS
    trouble: Trouble = Trouble()
    belt: int | None = None
    """Finished shards that may wait for a stage before those who make them have to wait; None: two for each of its
    workers and two more, as the engine has it."""
    copies: bool = False
    """Whether, when no shard waits any more, idle renderers begin once more what others have in hand; the first
    result counts. Stages that pay for requests never do this."""
    dispatch_s: float = 0.005
    """What handing out one shard takes the driver, which does nothing else at that time."""
    seed: int = 0

    def with_workers(self, workers: int) -> Job:
        """The same with another number of workers in all, in the same proportions; the servers take as much."""
        now = sum(pool.workers for pool in self.pools)
        pools = tuple(replace(pool, workers=max(1, round(pool.workers * workers / now))) for pool in self.pools)
        return replace(self, pools=pools)

    @property
    def bound_s(self) -> float:
        """No schedule is shorter, on average: the slowest stage, all of its workers busy with nothing but rows."""
        return max(self.families * max(pool.seconds / pool.workers, pool.requests / pool.rate) for pool in self.pools)


@dataclass(frozen=True)
class Outcome:
    """How a job went."""

    makespan_s: float
    bound_s: float
    busy: tuple[float, ...]
    """Per stage: the share of the workers' time in which they had a shard in hand."""
    repeated: float
    """Work that was lost with its worker, or done by two, ÷ all work that was needed."""
    ending: float
    """The share of the makespan after the last shard was first handed to the first stage."""
    attempts: int
    longest_queue: int
    """Most shards that ever waited between two stages."""
    accepted: tuple[tuple[int, ...], ...]
    """Per stage, how many results of each shard were accepted."""

    @property
    def ratio(self) -> float:
        """Makespan ÷ lower bound."""
        return self.makespan_s / self.bound_s


def simulate(job: Job) -> Outcome:
    """Do the job."""
    return _Driver(job).run()


@dataclass
class _Attempt:
    """A shard in a worker's hands."""

    shard: int
    begun: float
    ends: float
    ticket: int
    """Of the event that ends it."""


@dataclass
class _Worker:
    stage: int
    is_alive: bool = True
    attempt: _Attempt | None = None
    busy_s: float = 0.0


@dataclass
class _Stage:
    pool: Pool
    left: list[int]
    """Families of each shard that are still to be done."""
    accepted: list[int]
    tries: list[int]
    missing: int
    waiting: list[int] = field(default_factory=list)
    """A heap of shards that can be worked on."""
    belt: float = math.inf
    """How many may."""
    idle: list[int] = field(default_factory=list)
    """A heap of workers; it may name some that are idle no more."""
    held: dict[int, list[int]] = field(default_factory=dict)
    """Shards in hand, and the workers that have them, in the order in which they were handed out."""
    asked_until: float = 0.0
    """When the shared servers will have taken all requests so far."""


class _Driver:
    """The discrete events: a worker ends, a machine dies, is missed, is replaced."""

    def __init__(self, job: Job) -> None:
        self.job, self.trouble = job, job.trouble
        whole, rest = divmod(job.families, job.shard_size)
        sizes = [job.shard_size] * whole + [rest] * bool(rest)
        none = [0] * len(sizes)
        self.stages = [_Stage(pool, list(sizes), list(none), list(none), len(sizes)) for pool in job.pools]
        self.stages[0].waiting = list(range(len(sizes)))
        for stage in self.stages[1:]:
            stage.belt = 2 * stage.pool.workers + 2 if job.belt is None else job.belt
        self.workers: list[_Worker] = []
        self.machines: list[list[int]] = []
        self.deaths: list[int] = []
        self.events: list[tuple[float, int, str, int, int]] = []
        self._tickets = itertools.count()
        self.now = self.driver_free = self.handed_out = self.lost_s = 0.0
        self.longest_queue = 0
        self._mean = 1 + self.trouble.straggling * (_mean_of_stragglers() - 1)

    def run(self) -> Outcome:
        """Until the last shard of the last stage is accepted."""
        for number, stage in enumerate(self.stages):
            self._hire(number, stage)
        for machine in range(len(self.machines)):
            self._doom(machine)
        self._hand_out()
        while self.stages[-1].missing:
            self.now, ticket, event, subject, detail = heapq.heappop(self.events)
            if event == "ends":
                self._end(subject, ticket)
            elif event == "dies":
                self._die(subject)
            elif event == "is missed":
                heapq.heappush(self.stages[detail].waiting, subject)
            else:
                self._replace(subject)
            self._hand_out()
        return self._outcome()

    def _hire(self, number: int, stage: _Stage) -> None:
        """A stage's workers, on machines of their own."""
        for first in range(0, stage.pool.workers, self.trouble.machine):
            count = min(self.trouble.machine, stage.pool.workers - first)
            members = range(len(self.workers), len(self.workers) + count)
            self.workers += [_Worker(number) for _ in members]
            self.machines.append(list(members))
            self.deaths.append(0)
            stage.idle += members

    def _hand_out(self) -> None:
        """Shards to workers, the last stage first: what it takes makes room for those before it."""
        for number in reversed(range(len(self.stages))):
            stage = self.stages[number]
            after = self.stages[number + 1] if number + 1 < len(self.stages) else None
            # Who holds a finished shard for which there is no room does nothing else.
            held_up = max(0, len(after.waiting) - after.belt) if after else 0
            while stage.waiting and len(stage.held) + held_up < stage.pool.workers:
                if (name := self._idle(stage)) is None:
                    break
                self._begin(name, heapq.heappop(stage.waiting))
            if self.job.copies and not stage.pool.requests:
                self._copy(stage)

    def _copy(self, stage: _Stage) -> None:
        """Begin once more what only one worker has in hand, if there is nothing else to do."""
        if len(stage.held) < stage.missing:
            return
        for shard in [shard for shard, holders in stage.held.items() if len(holders) == 1]:
            if (name := self._idle(stage)) is None:
                return
            self._begin(name, shard)

    def _idle(self, stage: _Stage) -> int | None:
        while stage.idle:
            name = heapq.heappop(stage.idle)
            if self.workers[name].is_alive and self.workers[name].attempt is None:
                return name
        return None

    def _begin(self, name: int, shard: int) -> None:
        worker = self.workers[name]
        stage, pool = self.stages[worker.stage], self.stages[worker.stage].pool
        self.driver_free = begun = max(self.driver_free, self.now) + self.job.dispatch_s
        left = stage.left[shard]
        own = pool.start_s + left * pool.seconds * self._factor(pool.stage, shard, stage.tries[shard])
        stage.asked_until = max(stage.asked_until, begun) + left * pool.requests / pool.rate
        if worker.stage == 0 and not stage.tries[shard]:
            self.handed_out = begun
        stage.tries[shard] += 1
        stage.held.setdefault(shard, []).append(name)
        ends = max(begun + own, stage.asked_until)
        worker.attempt = _Attempt(shard, begun, ends, self._at(ends, "ends", name))

    def _end(self, name: int, ticket: int) -> None:
        """Accept a shard, unless its worker died on the way or another was quicker."""
        attempt, stage = self.workers[name].attempt, self.stages[self.workers[name].stage]
        if attempt is None or attempt.ticket != ticket:
            return
        stage.accepted[attempt.shard] += 1
        stage.missing -= 1
        for holder in stage.held.pop(attempt.shard):
            if holder != name:
                self.lost_s += self._done(stage, self.workers[holder]) * stage.pool.seconds
            self._put_down(self.workers[holder])
            heapq.heappush(stage.idle, holder)
        if stage is not self.stages[-1]:
            after = self.stages[self.workers[name].stage + 1].waiting
            heapq.heappush(after, attempt.shard)
            self.longest_queue = max(self.longest_queue, len(after))

    def _put_down(self, worker: _Worker) -> None:
        if worker.attempt:
            worker.busy_s += max(self.now - worker.attempt.begun, 0.0)
            worker.attempt = None

    def _doom(self, machine: int) -> None:
        if self.trouble.lifetime_s < math.inf:
            life = stable_random(self.job.seed, "machine", machine, self.deaths[machine])
            self._at(self.now + life.expovariate(1 / self.trouble.lifetime_s), "dies", machine)

    def _die(self, machine: int) -> None:
        self.deaths[machine] += 1
        for name in self.machines[machine]:
            worker = self.workers[name]
            worker.is_alive = False
            if attempt := worker.attempt:
                self._drop(name, attempt.shard)
        self._at(self.now + self.trouble.restart_s, "is replaced", machine)

    def _drop(self, name: int, shard: int) -> None:
        """A shard loses a worker; what that had done is kept as far as it was written down."""
        worker = self.workers[name]
        stage = self.stages[worker.stage]
        done = self._done(stage, worker)
        kept = 0 if self.trouble.batch is None else int(done // self.trouble.batch) * self.trouble.batch
        stage.left[shard] -= kept
        self.lost_s += (done - kept) * stage.pool.seconds
        self._put_down(worker)
        stage.held[shard].remove(name)
        if not stage.held[shard]:
            del stage.held[shard]
            self._at(self.now + self.trouble.detect_s, "is missed", shard, worker.stage)

    def _done(self, stage: _Stage, worker: _Worker) -> float:
        """How many families of the shard in its hands a worker has done by now."""
        attempt = worker.attempt
        assert attempt is not None
        begun = attempt.begun + stage.pool.start_s
        return stage.left[attempt.shard] * min(max(self.now - begun, 0.0) / max(attempt.ends - begun, 1e-9), 1.0)

    def _replace(self, machine: int) -> None:
        for name in self.machines[machine]:
            self.workers[name].is_alive = True
            heapq.heappush(self.stages[self.workers[name].stage].idle, name)
        self._doom(machine)

    def _factor(self, stage: str, shard: int, attempt: int) -> float:
        """By how much an attempt is slower than the average, which is 1."""
        if not (self.trouble.spread or self.trouble.straggling):
            return 1.0
        draw = stable_random(self.job.seed, stage, shard, attempt)
        factor = draw.lognormvariate(-(self.trouble.spread**2) / 2, self.trouble.spread)
        if draw.random() < self.trouble.straggling:
            factor *= min(draw.paretovariate(_TAIL), _WORST)
        return factor / self._mean

    def _at(self, time: float, event: str, subject: int, detail: int = 0) -> int:
        """Have something happen later; events of one instant happen in the order in which they came about."""
        ticket = next(self._tickets)
        heapq.heappush(self.events, (time, ticket, event, subject, detail))
        return ticket

    def _outcome(self) -> Outcome:
        busy = [0.0] * len(self.stages)
        for worker in self.workers:
            held = max(self.now - worker.attempt.begun, 0.0) if worker.attempt else 0.0
            busy[worker.stage] += worker.busy_s + held
        needed = self.job.families * sum(pool.seconds for pool in self.job.pools)
        return Outcome(
            makespan_s=self.now,
            bound_s=self.job.bound_s,
            busy=tuple(b / s.pool.workers / self.now for b, s in zip(busy, self.stages, strict=True)),
            repeated=self.lost_s / needed,
            ending=1 - self.handed_out / self.now,
            attempts=sum(sum(stage.tries) for stage in self.stages),
            longest_queue=self.longest_queue,
            accepted=tuple(tuple(stage.accepted) for stage in self.stages),
        )


def _mean_of_stragglers() -> float:
    """Of a Pareto distribution that is cut off."""
    return 1 + (1 - math.pow(_WORST, 1 - _TAIL)) / (_TAIL - 1)
