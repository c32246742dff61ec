"""Belts: in order, bounded, closed when all is through, and let everybody go when stopped."""

import threading
from collections.abc import Callable

import pytest

from mis_dataset.run.belt import Belt, Piece, StoppedError

PATIENCE_S = 30.0


def piece(number: int) -> Piece:
    return Piece(number, f"{number:064x}", 1)


def aside(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Do something in another thread; gives the thread, and what came of it: a result or an error."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(work())
        except StoppedError as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


def test_what_was_put_first_is_taken_first():
    belt = Belt(3)
    for number in range(3):
        belt.put(piece(number))
    assert len(belt) == 3
    assert [belt.take() for _ in range(3)] == [piece(number) for number in range(3)]


def test_a_full_belt_makes_wait_until_there_is_room():
    belt = Belt(1)
    belt.put(piece(0))
    thread, results = aside(lambda: belt.put(piece(1)))
    thread.join(0.1)
    assert thread.is_alive()
    assert belt.take() == piece(0)
    thread.join(PATIENCE_S)
    assert results == [None]
    assert belt.take() == piece(1)


def test_a_closed_belt_gives_what_is_on_it_and_then_none_to_everybody():
    belt = Belt(2)
    belt.put(piece(0))
    belt.close()
    assert [belt.take(), belt.take(), belt.take()] == [piece(0), None, None]


def test_closing_wakes_those_who_wait_for_more():
    belt = Belt(2)
    waiting = [aside(belt.take) for _ in range(2)]
    belt.close()
    for thread, results in waiting:
        thread.join(PATIENCE_S)
        assert results == [None]


def test_a_discarded_belt_holds_nobody_up():
    belt = Belt(1)
    belt.put(piece(0))
    waiting = aside(lambda: belt.put(piece(1)))
    belt.discard()
    waiting[0].join(PATIENCE_S)
    belt.put(piece(2))
    assert waiting[1] == [None]
    assert (len(belt), belt.take()) == (0, None)


def test_a_stopped_belt_lets_everybody_go_now_and_later():
    empty, full = Belt(1), Belt(1)
    full.put(piece(0))
    waiting = [aside(empty.take), aside(lambda: full.put(piece(1)))]
    empty.stop()
    full.stop()
    for thread, results in waiting:
        thread.join(PATIENCE_S)
        assert [type(result) for result in results] == [StoppedError]
    with pytest.raises(StoppedError):
        full.take()
    with pytest.raises(StoppedError):
        empty.put(piece(2))
