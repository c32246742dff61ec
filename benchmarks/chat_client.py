"""What asking a chat server costs: a steady server, the client's own work, and a storm of refusals.

python -m benchmarks.chat_client            the whole table; about four minutes on two idle cores
python -m benchmarks.chat_client --quick    a third of the requests, and medians of three

All figures are ratios of two things measured in the same run, and medians. The server is a process of its own, which
reads bodies into one buffer and forgets them. The client does what a build's teacher does for a row: it takes a
picture's part, which is made once and kept, asks, and keeps the answer in a ledger on disk.

The client's work is compared with that of one bare socket, which does for each request what cannot be done without any
client: it writes the same conversation as JSON, sends it, receives the answer and reads it. What the ``openai`` package
takes for the same in a bare loop, and what a socket takes that is given finished bytes, are told beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.table import Measured, argument_parser, markdown
from mis_dataset.backends import require
from mis_dataset.chat import Chat, ChatAnswer, ChatSettings, Message, jpeg_part, text_part
from mis_dataset.ledger import keeping_ledger
from mis_dataset.records import Failed, Rejected

_ANSWER = (
    b'{"id": "a", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": '
    b'"stop", "message": {"role": "assistant", "content": "yes"}}], "usage": {"prompt_tokens": 1, '
    b'"completion_tokens": 1, "total_tokens": 2}}'
)
_BUSY = b'{"error": {"message": "slow down", "type": "error", "code": null, "param": null}}'
_SIDE = 462
"""Of a square of noise that makes 200 KB, as JPEG and then as base64."""


@dataclass(frozen=True)
class Plan:
    """How much is asked, and what the server is like."""

    requests: int
    at_once: int = 64
    seconds: float = 0.2
    """What one answer takes."""
    turned_down: float = 0.3
    """The share of requests that the storm turns down, whatever is in flight."""


# The server


@dataclass
class Server:
    """Answers after a while; turns down what is beyond its capacity, and a share of the rest, at once.

    After half of the answers its capacity halves.
    """

    seconds: float
    capacity: int
    turned_down: float
    halves_after: int
    served: int = 0
    at_once: int = 0

    async def serve(self) -> None:
        """Print the port, and serve until killed."""
        loop, buffer = asyncio.get_running_loop(), bytearray(2**18)
        server = await loop.create_server(lambda: _Connection(self, buffer), "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    def reply(self, send: Callable[[bytes], None]) -> None:
        """Answer one request, now or later."""
        capacity = self.capacity // 2 if self.served >= self.halves_after else self.capacity
        if self.at_once >= capacity or random.random() < self.turned_down:
            send(_response(b"429 Too Many Requests", _BUSY))
            return
        self.at_once += 1
        asyncio.get_running_loop().call_later(self.seconds, self._answer, send)

    def _answer(self, send: Callable[[bytes], None]) -> None:
        self.at_once -= 1
        self.served += 1
        send(_response(b"200 OK", _ANSWER))


class _Connection(asyncio.BufferedProtocol):
    """Counts the bytes of bodies, and keeps none."""

    def __init__(self, server: Server, buffer: bytearray) -> None:
        self._server = server
        self._buffer = buffer
        self._head = b""
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - whatever the size
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._missing:
            self._head += self._buffer[:nbytes]
            head, end, begun = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._missing = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            self._head, nbytes = b"", len(begun)
        self._missing -= nbytes
        if not self._missing:
            self._server.reply(self._send)

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


def _response(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


@contextmanager
def _serving(
    seconds: float, capacity: int = 10**6, turned_down: float = 0.0, halves_after: int = 10**9
) -> Iterator[int]:
    """The port of a server in another process."""
    told = [str(value) for value in (seconds, capacity, turned_down, halves_after)]
    command = [sys.executable, "-m", "benchmarks.chat_client", "--serve", *told]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


# The client


@dataclass(frozen=True)
class Run:
    """What asking came to."""

    wall_s: float
    cpu_s: float
    lost: int


@contextmanager
def _picture() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.png"
        Image.effect_noise((_SIDE, _SIDE), 60).save(path)
        yield path


def _messages(picture: Path, number: int) -> list[Message]:
    return [{"role": "user", "content": [jpeg_part(picture, _SIDE, 90), text_part(str(number))]}]


def _ask(port: int, plan: Plan) -> Run:
    """Ask everything once, as a backend does."""
    settings = ChatSettings(
        base_url=f"http://127.0.0.1:{port}/v1", model="m", api_key_env="", concurrency=plan.at_once, backoff_s=0.1
    )
    with _picture() as picture, keeping_ledger(picture.with_name("ledger.sqlite")):
        _messages(picture, 0)

        async def one(chat: Chat, number: int) -> ChatAnswer | Rejected | Failed:
            return await chat.ask(_messages(picture, number))

        wall, cpu = time.perf_counter(), time.process_time()
        results = list(settings.converse(one, range(plan.requests)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Run(wall, cpu, sum(not isinstance(result, ChatAnswer) for result in results))


def _bare_openai(port: int, plan: Plan) -> float:
    """The processor's seconds of the ``openai`` package alone, as its documentation shows it."""

    async def ask_all() -> float:
        numbers = iter(range(plan.requests))
        client = require("openai", "openai").AsyncOpenAI(
            base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0
        )

        async def ask() -> None:
            for number in numbers:
                await client.chat.completions.create(model="m", messages=_messages(picture, number))

        async with client:
            begun = time.process_time()
            await asyncio.gather(*(ask() for _ in range(plan.at_once)))
            return time.process_time() - begun

    with _picture() as picture:
        _messages(picture, 0)
        return asyncio.run(ask_all())


def _bare_socket(port: int, plan: Plan, *, is_finished: bool) -> float:
    """The processor's seconds of one bare socket, which writes the conversation as JSON or is given finished bytes."""
    with _picture() as picture:
        messages = _messages(picture, 0)
    finished = json.dumps({"model": "m", "messages": messages}).encode()
    wanted = len(_response(b"200 OK", _ANSWER))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        begun = time.process_time()
        for _ in range(plan.requests):
            body = finished if is_finished else json.dumps({"model": "m", "messages": messages}).encode()
            connection.sendall(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            answer = b""
            while len(answer) < wanted:
                answer += connection.recv(wanted)
            json.loads(answer.partition(b"\r\n\r\n")[2])
        return time.process_time() - begun


# The table


def _steady(plan: Plan) -> float:
    """Ideal ÷ wall where the server answers everything."""
    with _serving(plan.seconds) as port:
        return plan.seconds * plan.requests / plan.at_once / _ask(port, plan).wall_s


@dataclass(frozen=True)
class Work:
    """Seconds of the processor for the same requests, in one run."""

    client: float
    openai: float
    socket: float
    """That writes JSON."""
    finished: float
    """That does not."""


def _work(plan: Plan) -> Work:
    with _serving(0.0) as port:
        return Work(
            _ask(port, plan).cpu_s,
            _bare_openai(port, plan),
            _bare_socket(port, plan, is_finished=False),
            _bare_socket(port, plan, is_finished=True),
        )


def _storm(plan: Plan) -> tuple[float, int]:
    """Wall ÷ ideal at the capacity given, which is half of what is asked at once, and then half of that; rows lost."""
    capacity = plan.at_once // 2
    with _serving(plan.seconds, capacity, plan.turned_down, plan.requests // 2) as port:
        run = _ask(port, plan)
    return run.wall_s / (plan.seconds * plan.requests / 2 * (1 / capacity + 2 / capacity)), run.lost


def measure(repeats: int, quick: bool) -> list[Measured]:
    """The rows on the client.

    Args:
        repeats: of how many runs each value is the median.
        quick: a third of the requests, in which beginning and end weigh thrice.
    """
    os.environ["NO_PROXY"] = "127.0.0.1"
    plan = Plan(640 if quick else 2000)
    with _serving(0.0) as port:
        _ask(port, Plan(64))  # imports, once
    steady = [_steady(plan) for _ in range(repeats)]
    works = [_work(plan) for _ in range(repeats)]
    storms = [_storm(plan) for _ in range(repeats)]
    asked = f"{plan.seconds * 1000:g} ms server, {plan.at_once} in flight, 200 KB, {plan.requests:,} requests"
    round_trips = plan.requests / plan.at_once
    at_most = f"{round_trips / math.ceil(round_trips):.3f} at most, with whole round trips"
    bare = (
        f"the openai package alone {_median(work.openai / work.socket for work in works):.2f}; "
        f"against a socket given finished bytes {_median(work.client / work.finished for work in works):.0f}, "
        f"openai alone {_median(work.openai / work.finished for work in works):.0f}"
    )
    return [
        Measured(
            f"teacher client: ideal ÷ wall, {asked}",
            _median(steady),
            0.95,
            False,
            remark=f"{_spread(steady)}; {at_most}",
        ),
        Measured(
            "client CPU per request ÷ bare socket that writes JSON",
            _median(work.client / work.socket for work in works),
            3,
            remark=bare,
        ),
        Measured(
            "storm, 30% turned down and capacity halves: wall ÷ ideal at the capacity given",
            _median(ratio for ratio, _ in storms),
            1.25,
            remark=_spread(ratio for ratio, _ in storms),
        ),
        Measured("storm: rows lost", max(lost for _, lost in storms), 0),
    ]


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _spread(values: Iterable[float]) -> str:
    ordered = sorted(values)
    return f"{ordered[0]:.2f} to {ordered[-1]:.2f}"


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argument_parser("benchmarks.chat_client", __doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the requests, medians of three")
    parser.add_argument("--repeats", type=int, help="of how many runs each value is the median; 5 by default")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        seconds, capacity, turned_down, halves_after = chosen.serve
        asyncio.run(Server(float(seconds), int(capacity), float(turned_down), int(halves_after)).serve())
        return
    print(markdown(measure(chosen.repeats or (3 if chosen.quick else 5), chosen.quick)))


if __name__ == "__main__":
    main()
