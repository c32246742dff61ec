"""The settings that every backend behind a chat server shares, and the loop over its rows."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from mis_dataset.chat.client import Chat, ChatAnswer
from mis_dataset.chat.in_order import in_order
from mis_dataset.chat.messages import Message, blank_part, jpeg_part, text_part
from mis_dataset.errors import ServerUnreachableError
from mis_dataset.ledger import open_account
from mis_dataset.options import option
from mis_dataset.records import ORDINALS, PASSING_TROUBLE, Failed, Rejected

Item = TypeVar("Item")
Result = TypeVar("Result")

# So many rows in a row without any answer may be the server's fault; fewer, beside answered ones, are the rows' own.
_SUSPICIOUS = 3


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """What every backend that asks a chat server can be told. The key comes from the environment only."""

    extra: ClassVar[str] = "openai"
    imports: ClassVar[tuple[str, ...]] = ("openai",)

    # Where a model is served changes nothing about its answers; a host's name has no place in a published recipe.
    base_url: str = option(
        doc="The server's address, usually ending in /v1, without any key.",
        tuning=True,
        pattern=r"^https?://[^\s/@?]+(/[^\s?]*)?$",
    )
    model: str = option(doc="The model's name on that server.", minLength=1)
    revision: str = option("", "The model's revision; recorded where the server gives no system_fingerprint.")
    api_key_env: str = option(
        "OPENAI_API_KEY", "The environment variable that holds the key; empty for a server that wants none."
    )
    temperature: float | None = option(None, "Left out: the server's own default.", minimum=0, maximum=2)
    max_tokens: int = option(2048, "The longest answer; a model that thinks first needs more.", minimum=1)
    max_repairs: int = option(1, "How often an answer that cannot be used is asked for again.", minimum=0, maximum=5)
    seed: int = option(0, "Each row's sampling seed is derived from it; servers may ignore it.", minimum=0)
    concurrency: int = option(
        8,
        "Requests in flight at most; fewer while the server turns more of them down, or a shard has no more rows.",
        tuning=True,
        minimum=1,
    )
    timeout_s: float = option(120.0, "Seconds to wait for one answer.", tuning=True, exclusiveMinimum=0)
    max_retries: int = option(
        5, "Further tries after 429, 5xx, a lost connection or a time-out.", tuning=True, minimum=0, maximum=20
    )
    backoff_s: float = option(
        1.0, "Seconds before the first retry, then doubled while nobody is answered.", tuning=True, exclusiveMinimum=0
    )

    patience_s: float = option(
        600.0,
        "Seconds to wait for a server that answered before and went down; 0, or no retries: it is not waited for.",
        tuning=True,
        minimum=0,
    )

    grace_s: float = option(
        10.0,
        "Seconds that requests in flight get to be answered, and kept, when work is stopped.",
        tuning=True,
        minimum=0,
    )

    turned_down: set[str] = field(init=False, default_factory=set, repr=False, compare=False)
    """Request parameters that this server was found not to take, in this run."""

    @property
    def environment(self) -> tuple[str, ...]:
        """The variable that has to hold the key, if the server wants one."""
        return (self.api_key_env,) if self.api_key_env else ()

    def converse(
        self, work: Callable[[Chat, Item], Awaitable[Result | Failed]], items: Sequence[Item]
    ) -> Iterator[Result | Failed]:
        """Work on all items, ``concurrency`` of them at a time, and yield one result per item, in order.

        ``work`` passes on the `Failed` that `Chat.ask` returns when its retries are used up. Where these were for
        passing trouble, the item is worked on once more when all others are done, and results wait for it from its
        place on; a `Failed` reaches the caller only where the server answers others, or a greeting. Closed early, told
        to stop (see `mis_dataset.stopping`), or stopped by an error, nothing new is asked, and what is in flight has
        ``grace_s`` to be answered and kept in the ledger.

        Raises:
            ServerError: the server cannot be used (wrong key, unknown model); after ``grace_s`` at most.
            ServerUnreachableError: three items in a row, or all there are, got no answer at all, and neither did a
                greeting; or the server went down in between, and was waited for in vain.
            BudgetError: a limit of the recipe is reached.
        """
        waiting: list[tuple[Item, Result | Failed]] = []
        with closing(self._first_round(work, items)) as results:
            for item, result in zip(items, results, strict=True):
                if waiting or self._may_pass(result):
                    waiting.append((item, result))
                else:
                    yield result
        yield from self._second_round(work, waiting)

    def _may_pass(self, result: object) -> bool:
        """Whether a result is a failure that another try may mend, if another is wanted."""
        return self.max_retries > 0 and isinstance(result, Failed) and result.reason.endswith(PASSING_TROUBLE)

    def _second_round(
        self, work: Callable[[Chat, Item], Awaitable[Result | Failed]], done: Sequence[tuple[Item, Result | Failed]]
    ) -> Iterator[Result | Failed]:
        """The results in order, those of items that failed for passing trouble from one more round."""
        failed = [item for item, result in done if self._may_pass(result)]
        if not failed:
            return
        account = open_account()
        # Most of these fail for reasons of their own, and must not pass for a server that is down.
        chat = partial(Chat, self, account, is_patient=False)
        with closing(in_order(work, failed, chat, self.concurrency, self.grace_s)) as results:
            for _, result in done:
                yield next(results) if self._may_pass(result) else result

    def _first_round(
        self, work: Callable[[Chat, Item], Awaitable[Result | Failed]], items: Sequence[Item]
    ) -> Generator[Result | Failed, None, None]:
        unanswered: list[Failed] = []
        answered = False
        account = open_account()
        with closing(in_order(work, items, lambda: Chat(self, account), self.concurrency, self.grace_s)) as results:
            for result in results:
                if isinstance(result, Failed):
                    unanswered.append(result)
                    if len(unanswered) % _SUSPICIOUS == 0 and not self._is_greeted_back():
                        raise self._unreachable(unanswered)
                    continue
                answered = True
                yield from unanswered
                unanswered.clear()
                yield result
        if unanswered and not answered and not self._is_greeted_back():
            raise self._unreachable(unanswered)
        yield from unanswered

    def _is_greeted_back(self) -> bool:
        """Whether the server answers something harmless; a filter may mind rows that lie side by side.

        How others fare says nothing: of a shard that is made again, nobody else may be left to ask.
        """

        async def greet(chat: Chat, parts: list[Message]) -> ChatAnswer | Rejected | Failed:
            # Its seed is new each time, for a kept answer would not do.
            return await chat.ask([{"role": "user", "content": parts}], seed=random.getrandbits(31))

        chat = partial(Chat, self, open_account(), is_patient=False)
        [answer] = in_order(greet, [self._greeting()], chat, self.concurrency, self.grace_s)
        return not isinstance(answer, Failed)

    def _greeting(self) -> list[Message]:
        return [text_part("Hello.")]

    def _unreachable(self, failures: Sequence[Failed]) -> ServerUnreachableError:
        reasons = ", ".join(sorted({failure.reason for failure in failures}))
        return ServerUnreachableError(
            f"{self.base_url} answered none of {len(failures)} rows in a row, each asked {self.max_retries + 1} times "
            f"({reasons}; the last: {failures[-1].detail}); finished work is kept: see to the server and run again"
        )


@dataclass(frozen=True, kw_only=True)
class VisionSettings(ChatSettings):
    """What every backend that shows images to its model can be told besides."""

    image_size: int = option(768, "Longest side of the images as sent, in pixels.", minimum=64, maximum=4096)
    jpeg_quality: int = option(90, "Quality of the images as sent.", minimum=30, maximum=95)

    def _greeting(self) -> list[Message]:
        # Some servers answer texts, and fail over every image.
        return [blank_part(), *super()._greeting()]

    def show(self, images: Sequence[Path]) -> list[Message]:
        """Message parts with the images in order, each after a line such as ``First image:``.

        Raises:
            StorageError: an image cannot be read.
        """
        parts: list[Message] = []
        for ordinal, path in zip(ORDINALS[: len(images)], images, strict=True):
            parts += [text_part(f"{ordinal.capitalize()} image:"), jpeg_part(path, self.image_size, self.jpeg_quality)]
        return parts
