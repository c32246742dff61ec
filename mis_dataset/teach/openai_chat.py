"""The teacher behind an API: any vision-language model on an OpenAI-compatible server.

The method is that of MIS (arXiv 2501.18533): the model is told that the request is harmful, or that it is fine, and
writes what each image shows, what follows from putting images and question together, and a reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mis_dataset.chat import Chat, ChatAnswer, ChatSettings, Message, fill_prompt, jpeg_part
from mis_dataset.options import option
from mis_dataset.records import ORDINALS, Failed, Label, Rejected, Scenario
from mis_dataset.seeds import stable_seed
from mis_dataset.teach import LabelRequest
from mis_dataset.teach._parse import ANSWER_SCHEMA, TeacherAnswer, answer_schema, parse_answer

_PROMPTS = Path(__file__).with_name("prompts")
_HARMFUL = _PROMPTS / "openai_chat_harmful.txt"
_BENIGN = _PROMPTS / "openai_chat_benign.txt"
_HINT = _PROMPTS / "openai_chat_hint.txt"
_REPAIR = _PROMPTS / "openai_chat_repair.txt"


@dataclass(frozen=True, kw_only=True)
class OpenaiChatTeacher(ChatSettings):
    """Shows the images in order, each after a line such as ``First image:``, then asks for the label as JSON."""

    version: ClassVar[int] = 1
    sources: ClassVar[tuple[Path, ...]] = (_HARMFUL, _BENIGN, _HINT, _REPAIR, ANSWER_SCHEMA)

    image_size: int = option(768, "Longest side of the images as sent, in pixels.", minimum=64, maximum=4096)
    jpeg_quality: int = option(90, "Quality of the images as sent.", minimum=30, maximum=95)
    show_rationale: bool = option(True, "Show the composer's rationale of harmful rows to the teacher as a hint.")
    max_repairs: int = option(1, "How often an answer that cannot be parsed is asked for again.", minimum=0, maximum=5)

    def teach(self, requests: Sequence[LabelRequest]) -> Iterator[Label | Rejected | Failed]:
        """Label each request.

        Rejects as ``malformed`` and for the reasons of `Chat.ask`, and fails where that fails.

        Raises:
            ServerError: the server cannot be used; see `ChatSettings.converse`.
            StorageError: an image cannot be read.
        """
        return self.converse(self._label, requests)

    async def _label(self, chat: Chat, request: LabelRequest) -> Label | Rejected | Failed:
        count = len(request.images)
        seed = stable_seed("openai_chat", self.seed, request.scenario.id) >> 32
        messages: list[Message] = [{"role": "user", "content": await asyncio.to_thread(self._content, request)}]
        heard: list[ChatAnswer] = []
        while True:
            said = await chat.ask(messages, schema=answer_schema(), seed=seed)
            if not isinstance(said, ChatAnswer):
                return said
            heard.append(said)
            parsed = parse_answer(said.text, count)
            if isinstance(parsed, TeacherAnswer):
                return self._as_label(parsed, heard)
            if parsed.reason == "refused" or len(heard) > self.max_repairs:
                return Rejected(parsed.reason, f"{parsed.detail}; the answer begins {said.text[:200]!r}")
            messages += [
                {"role": "assistant", "content": said.text or "(nothing)"},
                {"role": "user", "content": fill_prompt(_REPAIR, fault=parsed.detail, count=count)},
            ]

    def _as_label(self, parsed: TeacherAnswer, heard: Sequence[ChatAnswer]) -> Label:
        last = heard[-1]
        return Label(
            perception=parsed.perception,
            reasoning=parsed.reasoning,
            answer=parsed.answer,
            teacher=last.model,
            revision=last.fingerprint or self.revision,
            raw=last.text,
            prompt_tokens=sum(said.prompt_tokens for said in heard),
            completion_tokens=sum(said.completion_tokens for said in heard),
        )

    def _content(self, request: LabelRequest) -> list[Message]:
        parts: list[Message] = []
        for ordinal, path in zip(ORDINALS[: len(request.images)], request.images, strict=True):
            parts += [_text(f"{ordinal.capitalize()} image:"), jpeg_part(path, self.image_size, self.jpeg_quality)]
        return [*parts, _text(self._prompt(request.scenario, len(request.images)))]

    def _prompt(self, scenario: Scenario, count: int) -> str:
        if scenario.intent == "benign":
            return fill_prompt(_BENIGN, question=scenario.question, count=count)
        hint = fill_prompt(_HINT, rationale=scenario.rationale) + "\n\n" if self.show_rationale else ""
        return fill_prompt(_HARMFUL, question=scenario.question, count=count, hint=hint)


def _text(text: str) -> Message:
    return {"type": "text", "text": text}
