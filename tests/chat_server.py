"""A real OpenAI-compatible server on 127.0.0.1, whose behaviour a test scripts as a function from call to reply::

with ChatServer(lambda call: say("hello")) as server:
    OpenaiChatTeacher(base_url=server.base_url, ...)
    assert len(server.calls) == 1
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

MODEL = "test-vlm-2025-01-01"


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    number: int
    """Counts from 0 over the server's life, in the order of arrival."""
    path: str
    headers: Mapping[str, str]
    """With lower-case names."""
    body: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        """Every text of every message, in order."""
        contents = [message["content"] for message in self.body["messages"]]
        parts = [[{"type": "text", "text": item}] if isinstance(item, str) else item for item in contents]
        return [part["text"] for content in parts for part in content if part["type"] == "text"]

    @property
    def image_urls(self) -> list[str]:
        """The data URLs of the images of every message, in order."""
        contents = [message["content"] for message in self.body["messages"] if not isinstance(message["content"], str)]
        return [part["image_url"]["url"] for content in contents for part in content if part["type"] == "image_url"]

    @property
    def wants_schema(self) -> bool:
        return "response_format" in self.body


@dataclass(frozen=True)
class Reply:
    """One answer as it will be sent."""

    body: Any = None
    """JSON, or bytes as they are."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    drip_s: float = 0.0
    """The pause after every byte."""
    drop: bool = False
    """Close the connection without an answer."""


Script = Callable[[Call], Reply]


def say(
    content: str | None, *, finish: str = "stop", refusal: str | None = None, fingerprint: str | None = "fp_test"
) -> Reply:
    """A completion with this text."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return Reply(
        {
            "id": "chatcmpl-test",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "system_fingerprint": fingerprint,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        }
    )


def say_json(data: object, **options: Any) -> Reply:
    """A completion whose text is this JSON."""
    return say(json.dumps(data), **options)


def fail(
    status: int, message: str = "no", *, code: str | None = None, param: str | None = None, **headers: str
) -> Reply:
    """An error as OpenAI words it; ``retry_after="1"`` becomes the header ``retry-after``."""
    error = {"message": message, "type": "error", "code": code, "param": param}
    return Reply({"error": error}, status, {name.replace("_", "-"): value for name, value in headers.items()})


def drop() -> Reply:
    """No answer: the connection is closed."""
    return Reply(drop=True)


def later(reply: Reply, seconds: float) -> Reply:
    """The same answer, late; a server that is shut down doesn't wait."""
    return replace(reply, after_s=seconds)


def decode_image(url: str) -> Image.Image:
    """The image in a data URL."""
    head, data = url.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


class ChatServer:
    """Serves while it is entered; ``calls`` grows with every request."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calls: list[Call] = []
        self.most_at_once = 0
        """The largest number of requests that were being answered at the same time."""
        self.connections = 0
        """How many were opened, over the server's life."""
        self.open_connections = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def count_connection(self, change: int) -> None:
        with self._lock:
            self.connections += change > 0
            self.open_connections += change

    def answer(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        with self._lock:
            call = Call(len(self.calls), path, {name.lower(): value for name, value in headers.items()}, body)
            self.calls.append(call)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            reply = self.script(call)
            self.closing.wait(reply.after_s)
            return reply
        finally:
            with self._lock:
                self._at_once -= 1


class _Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the tests."""


def _handler(owner: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 10  # for a connection that its client forgot to close

        def setup(self) -> None:
            super().setup()
            owner.count_connection(1)

        def finish(self) -> None:
            super().finish()
            owner.count_connection(-1)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path != "/v1/chat/completions":
                reply = fail(404, f"no such path: {self.path}")
            else:
                reply = owner.answer(self.path, dict(self.headers), body)
            if reply.drop:
                self.close_connection = True
                return
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in {"content-type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            for chunk in [data] if not reply.drip_s else [data[at : at + 1] for at in range(len(data))]:
                self.wfile.write(chunk)
                owner.closing.wait(reply.drip_s)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
