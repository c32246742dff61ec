"""The assembly line: all stages at work at once, each on the shards that the one before it has finished.

    compose ──belt──► render ──belt──► teach ──belt──► screen

While the teacher labels shard k, the renderer draws k + 1. Belts are short and carry no records, only where they lie on
disk: memory does not grow with the build. Which shard is made when decides nothing about its bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from threading import Event, Lock, Semaphore, Thread
from typing import Any

from mis_dataset.errors import ServerUnreachableError
from mis_dataset.run.belt import Piece, StoppedError
from mis_dataset.run.local import Engine
from mis_dataset.run.post import Post
from mis_dataset.run.progress import Reporter
from mis_dataset.run.stage import Shards, passing_failures, told
from mis_dataset.run.workbench import Families, Workbench
from mis_dataset.stopping import stoppable

_PULSE_S = 0.5
_PATIENCE_S = 30.0
"""How long a line that was told to stop waits for what is in flight."""


class Line:
    """Runs the stages of a workbench over what is composed, doing only what is missing. Good for one run.

    Args:
        bench: finds shards.
        engine: has them made.
        reporter: is told how it goes; several threads tell it.
        expected: about how many items will be composed; None: nobody knows.
    """

    def __init__(self, bench: Workbench, engine: Engine, reporter: Reporter, expected: int | None = None) -> None:
        self._bench = bench
        self._engine = engine
        self._reporter = reporter
        self._expected = expected
        widths = [1 if stage == "compose" else engine.width(stage) for stage in bench.stages]
        self._posts = [Post(stage, width, 2 * width + 2) for stage, width in zip(bench.stages, widths, strict=True)]
        self._made_of: list[dict[int, str]] = [{} for _ in self._posts]
        self._lock = Lock()
        self._stopping = Event()
        self._ended = Semaphore(0)
        self._trouble: list[BaseException] = []
        self._lost_from = len(self._posts)

    def run(self, families: Families, shard_size: int) -> list[Shards[Any]]:
        """Compose, and make every shard of every stage that is missing, damaged, or made from something else.

        Args:
            families: composes; not asked where there is a finished composition.
            shard_size: families in a shard.

        Returns:
            Every stage complete, ``compose`` first.

        Raises:
            MisError: the first that any stage met; the others stop where they are, and what is finished stays.
            ServerUnreachableError: a stage lost its server; the others have done what they can without it.
        """
        threads = [self._thread(0, partial(self._compose, families, shard_size))]
        for place, post in enumerate(self._posts[1:], 1):
            threads += [self._thread(place, partial(self._work, place)) for _ in range(post.width)]
        for post in self._posts:
            self._reporter.start(post.stage)
        self._expect()
        try:
            for thread in threads:
                thread.start()
            at_work = len(threads)
            while at_work:
                # Not Thread.join: when Ctrl-C comes, Python 3.11 and 3.12 take the thread that is joined for ended.
                at_work -= self._ended.acquire(timeout=_PULSE_S)
                self._reporter.pulse([post.state() for post in self._posts])
        except (KeyboardInterrupt, SystemExit):
            self._reporter.note("stopping: what is on its way gets some seconds to come in, and is kept")
            raise
        finally:
            # Whatever happened, Ctrl-C included: nobody goes on behind the caller's back.
            self._stop()
            until = time.monotonic() + _PATIENCE_S
            for thread in threads:
                if thread.is_alive():
                    thread.join(max(0.0, until - time.monotonic()))
            self._reporter.pulse([post.state() for post in self._posts])
        if self._trouble:
            raise self._trouble[0]
        return [
            self._bench.shards(post.stage, [made_of[number] for number in range(len(made_of))])
            for post, made_of in zip(self._posts, self._made_of, strict=True)
        ]

    @property
    def passing_failures(self) -> int:
        """How many items, found or made, failed for reasons that another try may mend."""
        return sum(passing_failures(post.outcomes) for post in self._posts)

    def _compose(self, families: Families, shard_size: int) -> None:
        post, before = self._posts[0], self._bench.composed()
        if before is not None:
            for piece in before:
                self._reporter.found(post.stage, piece.items)
                self._done(0, piece, "")
        else:
            pieces = self._bench.compose(self._until_stopped(families), shard_size)
            for piece in iter(partial(self._composed, pieces), None):
                post.count(made=piece.items)
                self._reporter.advance(post.stage, piece.items)
                self._done(0, piece, "")
        self._left(0)

    def _composed(self, pieces: Iterator[Piece]) -> Piece | None:
        """The next composed shard; waiting for room on the belt is no work."""
        with self._posts[0].working():
            return next(pieces, None)

    def _until_stopped(self, families: Families) -> Iterator[Any]:
        """A composer that asks a server is slow, and a shard has many families: the line may stop after each."""
        for family in families:
            self._go_on()
            yield family

    def _work(self, place: int) -> None:
        """Work at one post until nothing more comes; several threads may do so at the same one."""
        post = self._posts[place]
        while (source := post.belt.take()) is not None:
            piece = self._bench.find(post.stage, source)
            if piece is not None:
                post.count(found=source.items)
                self._reporter.found(post.stage, source.items)
            else:
                with post.working():
                    piece = self._make(post, source)
            self._done(place, piece, source.digest)
        self._left(place)

    def _make(self, post: Post, source: Piece) -> Piece:
        """Have a shard made; the reporter sees it grow, and full in the end whatever was told on the way."""
        told_so_far = 0.0

        def tick(fraction: float) -> None:
            nonlocal told_so_far
            self._go_on()
            step = min(fraction * source.items, source.items - told_so_far)
            told_so_far += step
            post.count(made=step)
            self._reporter.advance(post.stage, step)

        piece = self._engine.make(self._bench, post.stage, source, tick)
        tick(1.0)
        return piece

    def _done(self, place: int, piece: Piece, made_of: str) -> None:
        """A shard is finished: count it, and hand it on."""
        post = self._posts[place]
        post.count(outcomes=piece.outcomes)
        with self._lock:
            self._made_of[place][piece.number] = made_of
        self._expect()
        if place + 1 < len(self._posts):
            self._posts[place + 1].belt.put(piece)
        else:
            self._go_on()

    def _left(self, place: int) -> None:
        """One of those at a post has nothing more to do; if it was the last, nothing more comes to the next."""
        post, is_complete = self._posts[place], place < self._lost_from
        if not post.leave(is_complete=is_complete):
            return
        if is_complete:
            self._reporter.finish(post.stage, told(post.outcomes))
        self._expect()
        if place + 1 < len(self._posts):
            self._posts[place + 1].belt.close()

    def _expect(self) -> None:
        """Tell how many items each stage will have seen in the end: what is composed, less what got lost before it."""
        with self._lock:
            states = [post.state() for post in self._posts]
            composed, is_sure = states[0].accepted, states[0].is_complete
            if not is_sure and self._expected is None:
                return
            total = composed if is_sure else max(composed, self._expected or 0)
            for post, state in zip(self._posts, states, strict=True):
                post.is_sure = is_sure
                if post.total != total:
                    post.total = total
                    self._reporter.expect(post.stage, total)
                if post is not self._posts[0]:
                    total -= state.rejected + state.failed

    def _lost(self, place: int, error: ServerUnreachableError) -> None:
        """A stage lost its server: those before it go on, and what they make waits on disk; those behind it run out.

        Whoever else works at the same post finishes the shard at hand.
        """
        if not self._trouble:
            self._reporter.note(f"{self._posts[place].stage} stops, the other stages go on: {error}")
        self._trouble.append(error)
        self._lost_from = min(self._lost_from, place)
        self._posts[place].belt.discard()
        self._left(place)

    def _thread(self, place: int, work: Callable[[], None]) -> Thread:
        def guarded() -> None:
            try:
                with stoppable(self._go_on):
                    work()
            except StoppedError:
                pass
            except ServerUnreachableError as error:
                self._lost(place, error)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the caller of `run`
                self._trouble.append(error)
                self._stop()
            finally:
                self._ended.release()

        return Thread(target=guarded, daemon=True)

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise StoppedError

    def _stop(self) -> None:
        self._stopping.set()
        for post in self._posts:
            post.belt.stop()
