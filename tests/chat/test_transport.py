"""What goes wrong on the way to a server reaches the openai client as what it is."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx2
import pytest
from chat_server import ChatServer, say

from mis_dataset.chat.transport import over_aiohttp


@contextmanager
def serving(act: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that does something to its first connection once it has read a little."""

    def serve() -> None:
        with suppress(OSError):  # nobody came
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                act(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            # A thread that waits for a connection is not woken when the socket is closed.
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def post(url: str, **timeouts: float) -> httpx2.Response:
    async def send() -> httpx2.Response:
        timeout = httpx2.Timeout(5.0, **timeouts)
        async with httpx2.AsyncClient(transport=over_aiohttp(url, 1), timeout=timeout) as client:
            return await client.post(f"{url}/chat/completions", content=b'{"messages": []}')

    return asyncio.run(send())


def test_an_answer_comes_through_with_its_status_headers_and_body():
    with ChatServer(lambda call: say("yes")) as server:
        response = post(server.base_url)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json()["choices"][0]["message"]["content"] == "yes"


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\n"],
    ids=["nothing", "half", "nonsense", "half a head"],
)
def test_a_connection_that_breaks_is_no_time_out(said: bytes):
    with serving(lambda connection: connection.sendall(said)) as url, pytest.raises(httpx2.NetworkError):
        post(url)


def test_a_server_that_is_not_there_is_no_time_out():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/v1"
    with pytest.raises(httpx2.NetworkError):
        post(url)


def test_silence_is_a_time_out():
    over = threading.Event()
    with serving(lambda connection: over.wait(10)) as url:
        with pytest.raises(httpx2.TimeoutException):
            post(url, read=0.1)
        over.set()


def test_the_environments_proxy_is_asked(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ChatServer(lambda call: say("yes")) as server, ChatServer(lambda call: say("no")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.base_url)
        # A proxy is sent the whole address where a server is sent a path, and this one knows no such path.
        assert post(server.base_url).status_code == 404
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert post(server.base_url).status_code == 200
