"""One server and its connections: every ending of a request as a type, passing trouble tried again.

How many requests are in flight is up to the server's `Limiter`, which all backends of a process share.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from mis_dataset.backends import require
from mis_dataset.chat.limiter import limiter_of
from mis_dataset.chat.messages import Message, encoded, valid_unicode
from mis_dataset.chat.transport import over_aiohttp
from mis_dataset.errors import BackendError, ServerAuthError, ServerError, ServerModelError, ServerUnreachableError
from mis_dataset.ledger import Account, Usage, request_key
from mis_dataset.records import Failed, Rejected

if TYPE_CHECKING:
    from mis_dataset.chat.settings import ChatSettings

logger = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 120.0
_SHARE_OF_REFUSAL = 1 / 4
"""Of a retry: what being turned down for the rate costs a row while others are answered; a storm is not its fault."""
# Endings that the server was paid for; asking again would cost again and say the same.
_PAID = {"refused", "truncated", "content_filtered"}
_FILTER_CODES = {"content_filter", "content_policy_violation"}
# Parameters that some servers turn down, with what is sent instead.
_SUBSTITUTES = {"seed": None, "max_tokens": "max_completion_tokens", "response_format": None}


@dataclass(frozen=True)
class ChatAnswer:
    """What the model said, and who it was."""

    text: str
    """Empty if the model said nothing; valid Unicode."""
    model: str
    """The model's name as the server gave it."""
    fingerprint: str
    """The server's ``system_fingerprint``; empty if it gives none."""
    prompt_tokens: int
    completion_tokens: int


class Chat:
    """An open pool of connections to one server; `ChatSettings.converse` opens and closes it.

    Args:
        settings: whom to ask, and how.
        account: where answers are kept and charged; a request whose answer is there is not sent.
        is_patient: whether a server that is down is waited for, ``patience_s`` at most.

    Raises:
        BackendError: the ``openai`` package is not installed, or ``base_url`` is no address.
        ServerAuthError: the environment variable for the key is not set.
    """

    def __init__(self, settings: ChatSettings, account: Account | None = None, *, is_patient: bool = True) -> None:
        self._settings = settings
        self._account = account
        self._is_patient = is_patient and settings.max_retries > 0 and settings.patience_s > 0
        self._limiter = limiter_of(settings.base_url, settings.model)
        self._joined = ExitStack()
        self._in_flight: set[asyncio.Task[Any]] = set()
        self.is_stopping = False
        """Whether nothing more is sent."""
        self._key = _key(settings.api_key_env)
        self._openai = openai = require("openai", "openai")
        self._httpx = httpx = require("httpx2", "openai")
        try:
            transport = over_aiohttp(settings.base_url, settings.concurrency)
            self._client = openai.AsyncOpenAI(
                base_url=settings.base_url,
                api_key=self._key or "none",
                # Retries are ours alone: the client's own cannot be told how long to wait.
                max_retries=0,
                timeout=openai.Timeout(settings.timeout_s, connect=min(settings.timeout_s, 10.0)),
                http_client=openai.DefaultAsyncHttpxClient(transport=transport),
            )
        except httpx.InvalidURL as error:
            raise BackendError(f"base_url: {settings.base_url!r} is no address ({error})") from error

    async def __aenter__(self) -> Chat:
        self._joined.enter_context(self._limiter.joined(self._settings.concurrency))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._joined.close()
        await self._client.close()

    def stop(self) -> Collection[asyncio.Task[Any]]:
        """Send nothing more; returns the tasks whose requests are in flight, and will be charged."""
        self.is_stopping = True
        return self._in_flight.copy()

    async def ask(
        self, messages: Sequence[Message], *, schema: Mapping[str, Any] | None = None, seed: int | None = None
    ) -> ChatAnswer | Rejected | Failed:
        """Send one conversation and get its answer.

        Args:
            messages: as the chat completions API takes them.
            schema: JSON Schema of the answer. A server that turns ``response_format`` down is asked without it, so the
                answer may break the schema: check it.
            seed: sampling seed in [0, 2**31).

        Returns:
            The answer; or `Rejected` as ``refused``, ``truncated``, ``content_filtered`` or ``bad_request``; or, after
            every retry, `Failed` as ``rate_limited``, ``server_error``, ``timed_out``, ``connection_lost`` or
            ``no_completion``.

        Raises:
            ServerError: no request can succeed; see its subclasses.
            ServerUnreachableError: the server went down and was waited for in vain.
            BudgetError: a limit of the recipe is reached.
            CancelledError: `stop` was called.
        """
        settings, account = self._settings, self._account
        key = ""
        if account is not None:
            key = request_key(
                model=settings.model,
                revision=settings.revision,
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                messages=encoded(messages, is_brief=True).decode(),
                schema=schema,
                seed=seed,
            )
            if kept := account.recall(key):
                return ChatAnswer(**kept) if "text" in kept else Rejected(**kept)
        # Once, for all tries: with images, that is most of the work.
        return await self._ask(partial(self._pay, key, encoded(messages), schema, seed))

    async def _ask(self, pay: Callable[[], Awaitable[ChatAnswer | Rejected]]) -> ChatAnswer | Rejected | Failed:
        """Try until there is an answer, or no more try is left."""
        limiter, settings = self._limiter, self._settings
        tries, retries, growth, answers = 0, 0.0, 0, limiter.answers
        while True:
            try:
                async with limiter.slot() as slot:
                    try:
                        outcome = await pay()
                    except _NoAnswer as trouble:
                        if self._account:
                            self._account.trouble(settings.model, trouble.reason)
                        suspect = self._is_patient and not tries
                        await slot.troubled(pause_s=trouble.pause_s, backoff_s=settings.backoff_s, suspect=suspect)
                        raise
                    slot.answered()
                    return outcome
            except _NoAnswer as trouble:
                self._go_on()
                tries += 1
                if self._is_patient and limiter.is_down:
                    # The limiter makes it wait; rows do not pay for a server that is gone.
                    if limiter.down_s > settings.patience_s:
                        raise self._gone(trouble) from trouble
                elif retries >= settings.max_retries:
                    return Failed(trouble.reason, str(trouble))
                elif trouble.reason == "rate_limited" and limiter.is_lively:
                    # The limiter sees to the load; who paused would leave a place empty.
                    retries += _SHARE_OF_REFUSAL
                else:
                    # A server that answered others meanwhile needs no longer pauses.
                    growth = growth + 1 if retries and limiter.answers == answers else 0
                    answers = limiter.answers
                    await asyncio.sleep(self._backoff(growth))
                    retries += 1

    async def _pay(
        self, key: str, conversation: bytes, schema: Mapping[str, Any] | None, seed: int | None
    ) -> ChatAnswer | Rejected:
        """Send once, and keep what comes of it; in flight, for limits and for who stops it, is what is in here."""
        account = self._account
        with self._sending(), account.ledger.paying() if account else nullcontext():
            outcome, usage = await self._fit(conversation, schema, seed)
            if account and (isinstance(outcome, ChatAnswer) or outcome.reason in _PAID):
                account.keep(key, asdict(outcome), usage)
        return outcome

    @contextmanager
    def _sending(self) -> Iterator[None]:
        """Within the block a request is in flight that will be charged, whether its answer is read or not."""
        self._go_on()
        if task := asyncio.current_task():
            self._in_flight.add(task)
        try:
            yield
        finally:
            self._in_flight.discard(task)

    def _go_on(self) -> None:
        if self.is_stopping:
            raise asyncio.CancelledError

    def _gone(self, trouble: _NoAnswer) -> ServerUnreachableError:
        settings = self._settings
        return ServerUnreachableError(
            f"{settings.base_url} answered before and has answered nothing for {settings.patience_s:g} s "
            f"({trouble.reason}; the last: {trouble}); finished work is kept: see to the server and run again, "
            "or set a longer patience_s"
        )

    async def _fit(
        self, conversation: bytes, schema: Mapping[str, Any] | None, seed: int | None
    ) -> tuple[ChatAnswer | Rejected, Usage]:
        """Send a request, and where it is turned down, without the parameter that is to blame."""
        turned_down: set[str] = set()
        while True:
            parameters = self._parameters(schema, seed, turned_down)
            try:
                outcome = await self._send(conversation, parameters)
            except _BadRequest as refusal:
                culprit = refusal.culprit(parameters)
                if culprit is None:
                    return Rejected("bad_request", str(refusal)), self._usage(None, 0.0)
                turned_down.add(culprit)
            else:
                self._remember(turned_down)
                return outcome

    def _parameters(self, schema: Mapping[str, Any] | None, seed: int | None, turned_down: set[str]) -> dict[str, Any]:
        parameters: dict[str, Any] = {"max_tokens": self._settings.max_tokens}
        if self._settings.temperature is not None:
            parameters["temperature"] = self._settings.temperature
        if seed is not None:
            parameters["seed"] = seed
        if schema is not None:
            # Names of dialects and titles are for people; some servers' grammars stumble over them.
            plain = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "title")}
            json_schema = {"name": "answer", "strict": True, "schema": plain}
            parameters["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        for name in (turned_down | self._settings.turned_down) & parameters.keys():
            value = parameters.pop(name)
            if substitute := _SUBSTITUTES[name]:
                parameters[substitute] = value
        return parameters

    def _remember(self, turned_down: set[str]) -> None:
        """Keep what a successful request had to do without; say it once."""
        for name in sorted(turned_down - self._settings.turned_down):
            self._settings.turned_down.add(name)
            instead = f"sending {_SUBSTITUTES[name]} instead" if _SUBSTITUTES[name] else "going on without it"
            logger.warning("%s turned down %s for %s; %s", self._settings.base_url, name, self._settings.model, instead)

    def _backoff(self, growth: int) -> float:
        longest: float = min(self._settings.backoff_s * 2**growth, _LONGEST_PAUSE_S)
        return longest * random.uniform(0.5, 1.0)

    async def _send(self, conversation: bytes, parameters: Mapping[str, Any]) -> tuple[ChatAnswer | Rejected, Usage]:
        """One HTTP request; the client's errors become ours here."""
        openai, settings = self._openai, self._settings
        begun = time.monotonic()
        try:
            # The client's own time-out starts anew with every byte; this one is for the whole answer.
            async with asyncio.timeout(settings.timeout_s):
                response = await self._client.post(
                    "/chat/completions",
                    # As it came: the client's own models take as long as all the rest, and hold it to nothing.
                    cast_to=self._httpx.Response,
                    content=_body(conversation, {"model": settings.model, **parameters}),
                )
            completion = json.loads(response.content)
        except (TimeoutError, openai.APITimeoutError) as error:
            raise _NoAnswer("timed_out", f"no answer within {settings.timeout_s:g} s") from error
        except openai.APIConnectionError as error:
            raise _NoAnswer("connection_lost", self._hide_key(_why(error))) from error
        except openai.APIStatusError as error:
            if error.code in _FILTER_CODES:
                return Rejected("content_filtered", self._detail(error)), self._usage(None, time.monotonic() - begun)
            raise self._translate(error) from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise _NoAnswer("no_completion", f"the answer is not JSON: {error}") from error
        return self._read(completion), self._usage(completion, time.monotonic() - begun)

    def _usage(self, completion: Any, seconds: float) -> Usage:
        """What an answer took, whatever is in it."""
        return Usage(
            model=self._settings.model,
            requests=1,
            prompt_tokens=_at(completion, "usage", "prompt_tokens") or 0,
            completion_tokens=_at(completion, "usage", "completion_tokens") or 0,
            seconds=seconds,
        )

    def _translate(self, error: Any) -> Exception:
        settings, status, detail = self._settings, error.status_code, self._detail(error)
        if status in (401, 403):
            advice = (
                f"set the environment variable {settings.api_key_env} to a key that may use {settings.model!r}"
                if settings.api_key_env
                else "it wants a key: put one into an environment variable and name that in api_key_env"
            )
            return ServerAuthError(f"{settings.base_url} refused access ({detail}); {advice}")
        if status == 404:
            return ServerModelError(
                f"{settings.base_url} does not know the model {settings.model!r} ({detail}); "
                "check model, and base_url, which usually ends in /v1"
            )
        if status in (400, 413, 422):
            return _BadRequest(detail)
        if status in (408, 409, 425, 429) or status >= 500:
            reason = "rate_limited" if status == 429 else "server_error"
            return _NoAnswer(reason, detail, retry_after(error.response.headers))
        return ServerError(f"{settings.base_url} turned the request down for good ({detail})")

    def _read(self, completion: Any) -> ChatAnswer | Rejected:
        """The first choice of a completion; gateways are known to answer 200 without one."""
        choice = _at(completion, "choices", 0)
        message = _at(choice, "message")
        if not isinstance(message, dict):
            raise _NoAnswer("no_completion", f"the answer holds no completion: {self._hide_key(str(completion))[:200]}")
        if refusal := message.get("refusal"):
            return Rejected("refused", f"the model refused: {self._hide_key(str(refusal))[:300]}")
        content, finish_reason = message.get("content"), _at(choice, "finish_reason")
        text = valid_unicode(self._hide_key(content)) if isinstance(content, str) else ""
        if finish_reason == "content_filter":
            return Rejected("content_filtered", "the server's content filter cut the answer off")
        if finish_reason == "length":
            cut = f"the answer was cut off at max_tokens = {self._settings.max_tokens}"
            return Rejected("truncated", f"{cut}; it begins {text[:200]!r}" if text else cut)
        usage = self._usage(completion, 0.0)
        return ChatAnswer(
            text=text,
            model=_at(completion, "model") or self._settings.model,
            fingerprint=_at(completion, "system_fingerprint") or "",
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )

    def _detail(self, error: Any) -> str:
        """What the server said of an error, in a few words."""
        body = error.body
        said = body.get("message") or body.get("detail") if isinstance(body, Mapping) else body
        return f"{error.status_code}: {self._hide_key(str(said or error.response.reason_phrase)).strip()[:300]}"

    def _hide_key(self, text: str) -> str:
        """Servers may echo what they were sent; nothing that is kept may hold the key."""
        return text.replace(self._key, "***") if self._key else text


class _NoAnswer(Exception):  # noqa: N818 - a step of the retry loop, not an error that leaves this module
    """A request came to nothing, and another try may not."""

    def __init__(self, reason: str, detail: str, pause_s: float = 0.0) -> None:
        super().__init__(detail)
        self.reason = reason
        self.pause_s = pause_s


class _BadRequest(Exception):  # noqa: N818 - as above
    """The server does not take the request as it is."""

    def culprit(self, parameters: Mapping[str, Any]) -> str | None:
        """What to try without: a parameter that the message names, else ``response_format``, which many do not name."""
        named = [name for name in _SUBSTITUTES if name in parameters and re.search(rf"\b{name}\b", str(self))]
        return next(iter(named), "response_format" if "response_format" in parameters else None)


def _body(conversation: bytes, parameters: Mapping[str, Any]) -> bytes:
    """A request of encoded messages and some parameters, as JSON."""
    return b"".join((json.dumps(parameters).encode()[:-1], b', "messages": ', conversation, b"}"))


def _at(value: Any, *path: str | int) -> Any:
    """What is at a path of keys and places; None where there is nothing, whatever a gateway sends."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _why(error: BaseException) -> str:
    """Why a connection was lost, and to whom it was, in the words of whoever noticed first."""
    at = ""
    while cause := error.__cause__:
        error = cause
        if port := getattr(error, "port", None):
            at = f" at {getattr(error, 'host', '')}:{port}"
    if isinstance(error, ConnectionError) and error.errno:
        said = os.strerror(error.errno)  # its own text is of the call that failed
    else:
        said = getattr(error, "strerror", "") or str(error) or type(error).__name__
    return " ".join(said.split()) + at


def _key(variable: str) -> str:
    """The key from the environment; empty if no variable is named."""
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise ServerAuthError(
            f"the environment variable {variable} is not set: put the server's key there, name another variable as "
            'api_key_env, or set api_key_env = "" for a server that wants no key'
        )
    return key


def retry_after(headers: Mapping[str, str]) -> float:
    """The pause that a server asks for, in seconds; 0 if it names none, and never longer than two minutes."""
    number, asked, asked_ms = r"\d+(\.\d+)?", headers.get("retry-after", ""), headers.get("retry-after-ms", "")
    if re.fullmatch(number, asked_ms):
        seconds = float(asked_ms) / 1000
    elif re.fullmatch(number, asked):
        seconds = float(asked)
    else:
        try:
            moment = email.utils.parsedate_to_datetime(asked).astimezone(UTC)
        except (ValueError, OverflowError):
            return 0.0
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_PAUSE_S)
