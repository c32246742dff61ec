"""What a server is sent at a time: the rule, the breaker, and the slots that threads and event loops share."""

import asyncio
import gc
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from mis_dataset.chat.breaker import Breaker
from mis_dataset.chat.limiter import Limiter, limiter_of
from mis_dataset.chat.width import Width


def width(cap: int) -> Width:
    made = Width()
    made.fit(cap)
    return made


def round_trip(one: Width, is_turned_down: Callable[[int], bool]) -> None:
    """As many requests as the limit, each sent while those before it are in flight; who is turned down is at once."""
    for level in range(1, one.limit + 1):
        if is_turned_down(level):
            one.troubled(level, 0.001, [])
        else:
            one.answered(level, 1.0)


# The rule


@pytest.mark.parametrize(("cap", "start"), [(1, 1), (8, 8), (32, 32), (200, 32)])
def test_it_starts_from_the_cap_or_from_32(cap: int, start: int):
    assert width(cap).limit == start


def test_it_doubles_up_to_the_cap_while_there_is_no_trouble():
    one, limits = width(100), []
    for _ in range(3):
        round_trip(one, lambda level: False)
        limits.append(one.limit)
    assert limits == [64, 100, 100]


def test_it_stays_where_nobody_makes_use_of_it():
    one = width(100)
    for _ in range(200):
        one.answered(3, 1.0)
    assert one.limit == 32


def test_it_halves_where_all_is_turned_down_and_keeps_one():
    one, limits = width(8), []
    for _ in range(4):
        round_trip(one, lambda level: True)
        limits.append(one.limit)
    assert limits == [4, 2, 1, 1]


def test_it_halves_once_a_round_trip_whatever_the_number_of_troubles():
    one = width(32)
    for level in range(1, 32):
        one.troubled(level, 0.1, [])
    assert one.limit == 32
    one.troubled(32, 0.1, [])
    assert one.limit == 16


def test_it_halves_where_time_outs_take_more_time_than_answers():
    one = width(8)
    for level in range(1, 7):
        one.answered(level, 1.0)
    one.troubled(7, 120.0, [(1, 3.0)])
    one.troubled(8, 120.0, [(1, 3.0)])
    assert one.limit == 4


def test_it_stays_while_what_was_not_turned_down_is_being_answered():
    # Sent together: some are turned down at once, and of the others nothing is known for long.
    one = width(32)
    pending = [(level, 0.1) for level in range(1, 33)]
    for _ in range(2):
        for level in range(1, 33):
            one.troubled(level, 0.001, pending)
    assert one.limit == 32


def test_once_it_was_too_high_it_grows_by_one_a_round_trip():
    one, limits = width(16), []
    round_trip(one, lambda level: True)
    for _ in range(3):
        round_trip(one, lambda level: False)
        limits.append(one.limit)
    assert limits == [9, 10, 11]


@pytest.mark.parametrize("capacity", [5, 20, 32])
def test_it_finds_a_capacity_and_stays_there(capacity: int):
    one = width(64)
    for _ in range(20):
        round_trip(one, lambda level: level > capacity)
    seen = []
    for _ in range(20):
        round_trip(one, lambda level: level > capacity)
        seen.append(one.limit)
    assert capacity <= min(seen)
    assert max(seen) <= capacity + 3


def test_it_finds_a_capacity_among_refusals_that_have_nothing_to_do_with_load():
    one, chance, seen = width(64), random.Random(2), []
    for _ in range(200):
        round_trip(one, lambda level: level > 20 or chance.random() < 0.3)
        seen.append(one.limit)
    settled = sorted(seen[20:])
    assert settled[len(settled) // 2] in range(19, 25)


def test_refusals_that_have_nothing_to_do_with_load_do_not_starve_it():
    # Halving whenever there was a refusal would end at one.
    one, chance, seen = width(32), random.Random(1), []
    for _ in range(200):
        round_trip(one, lambda level: chance.random() < 0.3)
        seen.append(one.limit)
    assert sum(seen) / len(seen) > 28


def test_refusals_that_have_nothing_to_do_with_load_do_not_end_the_doubling():
    one = width(256)
    for _ in range(3):
        round_trip(one, lambda level: level % 3 == 0)
    assert one.limit == 256


def test_a_smaller_cap_counts_at_once():
    one = width(32)
    one.fit(5)
    assert one.limit == 5


# The breaker


class Line:
    """Requests to a breaker, sent and ended one by one."""

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.sent: list[int] = []
        self.next = 1

    def send(self, count: int = 1) -> list[int]:
        new = list(range(self.next, self.next + count))
        self.sent += new
        self.next += count
        return new

    def answer(self, serial: int) -> None:
        self.sent.remove(serial)
        self.breaker.answered()

    def trouble(self, serial: int, *, suspect: bool = True) -> float:
        self.sent.remove(serial)
        return self.breaker.troubled(
            serial, next_serial=self.next, oldest=min(self.sent, default=None), suspect=suspect, now=50.0, pause_s=1.0
        )

    @property
    def is_down(self) -> bool:
        return self.breaker.down_since is not None


@pytest.fixture
def line() -> Line:
    """After one answer."""
    one = Line()
    one.answer(*one.send())
    return one


def test_five_new_requests_without_an_answer_open_it(line: Line):
    pauses = [line.trouble(serial) for serial in line.send(5)]
    assert pauses == [0, 0, 0, 0, 1]
    assert line.breaker.down_since == 50


def test_a_server_that_never_answered_is_not_waited_for():
    line = Line()
    for serial in line.send(50):
        line.trouble(serial)
    assert not line.is_down


def test_further_tries_of_the_same_requests_do_not_open_it(line: Line):
    for attempt in range(20):
        for serial in line.send(3):
            line.trouble(serial, suspect=attempt == 0)
    assert not line.is_down


def test_an_answer_starts_the_count_anew(line: Line):
    for _ in range(10):
        for serial in line.send(4):
            line.trouble(serial)
        line.answer(*line.send())
    assert not line.is_down


def test_it_stays_closed_while_an_earlier_request_may_be_answered_yet(line: Line):
    # Turned down for load: a hundred refusals come in while those before them are being worked on.
    (slow,) = line.send()
    for serial in line.send(100):
        line.trouble(serial)
    assert not line.is_down
    line.trouble(slow)
    assert line.is_down


def test_pauses_between_probes_double_up_to_a_minute(line: Line):
    for serial in line.send(5):
        line.trouble(serial)
    assert [line.trouble(*line.send()) for _ in range(8)] == [2, 4, 8, 16, 32, 60, 60, 60]


def test_what_was_sent_before_it_opened_is_no_probe(line: Line):
    first, late = line.send(5), line.send(3)
    for serial in first:
        line.trouble(serial)
    # Sent after the first trouble would have been a round trip; these were not, so they had to end first.
    assert not line.is_down
    assert [line.trouble(serial) for serial in late] == [0, 0, 1]


def test_an_answer_closes_it(line: Line):
    for serial in line.send(5):
        line.trouble(serial)
    line.answer(*line.send())
    assert not line.is_down


# Slots


async def busy(limiter: Limiter, seconds: float, log: list[int]) -> None:
    async with limiter.slot() as slot:
        log.append(slot.level)
        await asyncio.sleep(seconds)
        slot.answered()


def test_no_more_are_in_flight_than_the_cap_over_threads_and_loops():
    limiter, levels = Limiter(), list[int]()

    async def many() -> None:
        await asyncio.gather(*(busy(limiter, 0.001, levels) for _ in range(50)))

    with limiter.joined(5), ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(asyncio.run, many()) for _ in range(4)]:
            done.result(timeout=30)
    assert len(levels) == 200
    assert max(levels) == 5


def test_the_largest_cap_of_those_who_ask_counts():
    limiter = Limiter()
    with limiter.joined(3):
        with limiter.joined(9):
            assert limiter.limit == 9
        assert limiter.limit == 3


def test_whoever_waits_longest_comes_first():
    limiter, order = Limiter(), list[int]()

    async def one(number: int) -> None:
        async with limiter.slot() as slot:
            order.append(number)
            await asyncio.sleep(0.001)
            slot.answered()

    async def all_of_them() -> None:
        await asyncio.gather(*map(one, range(20)))

    with limiter.joined(2):
        asyncio.run(all_of_them())
    assert order == list(range(20))


def test_a_slot_comes_back_whatever_ends_it():
    # Cancelled while waiting, when just called, while sending; errors; trouble. A place that is lost would stall the end.
    limiter, chance, levels = Limiter(), random.Random(3), list[int]()

    async def one() -> None:
        async with limiter.slot() as slot:
            levels.append(slot.level)
            await asyncio.sleep(chance.random() * 0.002)
            fate = chance.random()
            if fate < 0.2:
                raise ValueError("a mistake in the work")
            if fate < 0.4:
                await slot.troubled(pause_s=0.001, backoff_s=0.001, suspect=True)
            else:
                slot.answered()

    async def storm() -> None:
        tasks = [asyncio.create_task(one()) for _ in range(300)]
        for _ in tasks:
            await asyncio.sleep(0)
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.001)
                chance.choice(tasks).cancel()
        async with asyncio.timeout(20):
            await asyncio.gather(*tasks, return_exceptions=True)
            await busy(limiter, 0, levels)
        # All places are free again: so many at a time get in at once.
        fresh: list[int] = []
        limiter._width = width(4)
        await asyncio.gather(*(busy(limiter, 0.01, fresh) for _ in range(4)))
        assert sorted(fresh) == [1, 2, 3, 4]

    with limiter.joined(4):
        asyncio.run(storm())
    assert max(levels) <= 4


def test_a_pause_is_everyones():
    limiter, begun = Limiter(), list[float]()

    async def one() -> None:
        async with limiter.slot() as slot:
            begun.append(time.monotonic())
            slot.answered()

    async def asked() -> float:
        async with limiter.slot() as slot:
            waiting = [asyncio.create_task(one()) for _ in range(5)]
            await asyncio.sleep(0.01)
            told = time.monotonic()
            await slot.troubled(pause_s=0.3, backoff_s=0.001, suspect=True)
        await asyncio.gather(*waiting)
        return told

    with limiter.joined(1):
        told = asyncio.run(asked())
    assert len(begun) == 5
    assert min(begun) >= told + 0.3


def test_a_server_that_is_down_is_asked_one_at_a_time():
    limiter, levels, probes, is_up = Limiter(), list[int](), list[int](), asyncio.Event()

    async def one() -> None:
        while True:
            async with limiter.slot() as slot:
                (probes if limiter.is_down else levels).append(slot.level)
                await asyncio.sleep(0)
                if is_up.is_set():
                    slot.answered()
                    return
                await slot.troubled(pause_s=0, backoff_s=0.001, suspect=True)
                if len(probes) == 5:
                    is_up.set()

    async def outage() -> None:
        await busy(limiter, 0, levels)
        await asyncio.gather(*(one() for _ in range(20)))

    with limiter.joined(5):
        asyncio.run(outage())
    # The one that is answered closes it, and others may go before its place is free.
    assert probes == [1] * 6
    assert max(levels[-10:]) == 5


def test_a_loop_that_ended_while_it_waited_is_passed_over():
    limiter, levels = Limiter(), list[int]()

    async def gives_up() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await busy(limiter, 0, levels)

    async def holds() -> None:
        async with limiter.slot() as slot:
            await asyncio.to_thread(asyncio.run, gives_up())
            slot.answered()
        async with asyncio.timeout(5):
            await busy(limiter, 0, levels)

    with limiter.joined(1):
        asyncio.run(holds())
    gc.collect()
    assert levels == [1]


def test_a_server_and_model_have_one_limiter():
    assert limiter_of("http://h/v1", "m") is limiter_of("http://h/v1/", "m")
    assert limiter_of("http://h/v1", "m") is not limiter_of("http://h/v1", "n")
    assert limiter_of("http://h/v1", "m") is not limiter_of("http://i/v1", "m")
