"""How well the places of a server are used, steady or in a storm; in simulated time, so that figures are exact."""

import random

import pytest
from simulated_server import BASE_URL, SimulatedServer, simulated

from mis_dataset.chat import Chat, ChatAnswer, ChatSettings
from mis_dataset.records import Failed, Rejected


def seconds_for(requests: int, server: SimulatedServer) -> float:
    """What so many requests take, 64 in flight at most; all have to be answered."""

    async def one(chat: Chat, number: int) -> ChatAnswer | Rejected | Failed:
        return await chat.ask([{"role": "user", "content": str(number)}])

    asker = ChatSettings(base_url=BASE_URL, model="m", api_key_env="", concurrency=64, backoff_s=0.1)
    with simulated(server, "m") as clock:
        random.seed(1)
        answers = list(asker.converse(one, range(requests)))
    assert [type(answer) for answer in answers] == [ChatAnswer] * requests
    return clock.now


def test_a_steady_server_costs_no_round_trip_too_many():
    # The first has 32 requests, the other ten 64; ten would be the least.
    assert seconds_for(640, SimulatedServer()) == pytest.approx(11 * 0.202)


@pytest.mark.parametrize(("on_the_way", "bar"), [(0.002, 1.1), (0.02, 1.2)])
def test_in_a_storm_no_row_is_lost_and_few_places_stay_empty(on_the_way: float, bar: float):
    server = SimulatedServer(capacity=32, turned_down=0.3, halves_after=400, on_the_way=on_the_way)
    ideal = 400 * 0.2 / 32 + 400 * 0.2 / 16
    assert seconds_for(800, server) < bar * ideal
    # Three in ten are turned down whatever is sent, which is 1,143 for 800 answers; the rest feels for the capacity.
    assert server.asked < 2000


def test_refusals_that_have_nothing_to_do_with_load_cost_little_more_than_their_share_of_places():
    assert seconds_for(960, SimulatedServer(turned_down=0.3)) < 1.25 * 960 * 0.2 / 64


def test_a_server_that_takes_an_eighth_is_sent_little_more():
    server = SimulatedServer(capacity=8)
    assert seconds_for(400, server) < 1.15 * 400 * 0.2 / 8
    assert server.asked < 700
