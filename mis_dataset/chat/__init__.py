"""Asking a model behind an OpenAI-compatible server: many rows at a time, every ending typed, results in order.

The server may be OpenAI's or anything that speaks ``/v1/chat/completions``: vLLM, SGLang, llama.cpp, Ollama, a gateway.
A backend inherits `ChatSettings` and hands `ChatSettings.converse` a coroutine function that works on one row::

    @dataclass(frozen=True, kw_only=True)
    class MyTeacher(ChatSettings):
        def teach(self, requests):
            return self.converse(self._label, requests)

        async def _label(self, chat, request):
            answer = await chat.ask([{"role": "user", "content": "..."}])
"""

from __future__ import annotations

from mis_dataset.chat.answers import keeping_answers
from mis_dataset.chat.client import Chat, ChatAnswer
from mis_dataset.chat.messages import Message, fill_prompt, jpeg_part, valid_unicode
from mis_dataset.chat.settings import ChatSettings

__all__ = [
    "Chat",
    "ChatAnswer",
    "ChatSettings",
    "Message",
    "fill_prompt",
    "jpeg_part",
    "keeping_answers",
    "valid_unicode",
]
