"""Local vision-language models for inspect_ai, which has none of its own: its ``hf`` provider drops images.

The provider is called ``vlm``: ``--model vlm/PATH-OR-HUB-ID`` takes any model that `transformers` loads as
image-text-to-text with a processor that has a chat template, or the folder of a PEFT adapter. One row is answered at a
time; for large runs, serve the model and use ``openai-api/NAME/MODEL``.
"""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import anyio.to_thread
from inspect_ai.model import (
    ChatMessage,
    ContentImage,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from inspect_ai.util import display_type
from PIL import Image

from mis_dataset.backends import require
from mis_dataset.errors import UsageError

_LONGEST_ANSWER = 1024


@modelapi("vlm")
class LocalVlm(ModelAPI):
    """Loads model and processor, and answers greedily unless a temperature is given.

    Raises:
        UsageError: there is no such model, it takes no images, or there is no such device or type of numbers.
        BackendError: ``transformers`` is not installed.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  # inspect_ai's signature
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        super().__init__(model_name=model_name, base_url=base_url, api_key=api_key, config=config)
        if base_url is not None:
            raise UsageError(
                f"vlm/{model_name} is loaded into this process; leave base_url out, or name the server's API"
            )
        transformers, torch = require("transformers", "finetune"), require("torch", "finetune")
        if display_type() == "none":
            transformers.utils.logging.disable_progress_bar()
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise UsageError(f"dtype: torch has no type {dtype!r}; write auto, bfloat16, float16 or float32")
        try:
            self._processor = transformers.AutoProcessor.from_pretrained(model_name)
            model = transformers.AutoModelForImageTextToText.from_pretrained(model_name, dtype=dtype)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"vlm/{model_name} cannot be loaded ({error}); name a folder or a Hub id of a vision-language model"
            ) from error
        self._torch = torch
        try:
            self._model = model.to(device).eval()
        except (RuntimeError, AssertionError) as error:  # which of them is up to torch
            first = str(error).partition("\n")[0]
            raise UsageError(
                f"vlm/{model_name} cannot be put on the device {device!r} ({first}); name another"
            ) from error

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  # inspect_ai's name
        tools: list[ToolInfo],  # noqa: ARG002
        tool_choice: ToolChoice,  # noqa: ARG002
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answer one conversation."""
        return await anyio.to_thread.run_sync(self._answer, input, config)

    def max_connections(self) -> int:
        """One at a time: the model is in this process."""
        return 1

    def max_tokens(self) -> int:
        """The longest answer, where no other length is given."""
        return _LONGEST_ANSWER

    def _answer(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        begun = time.monotonic()
        inputs = self._processor.apply_chat_template(
            [{"role": message.role, "content": _parts(message)} for message in messages],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._model.device, dtype=self._model.dtype)
        options: dict[str, Any] = {"max_new_tokens": config.max_tokens or _LONGEST_ANSWER, "do_sample": False}
        if config.temperature:
            options |= {"do_sample": True, "temperature": config.temperature}
            self._torch.manual_seed(config.seed or 0)
        with self._torch.inference_mode():
            tokens = self._model.generate(**inputs, **options)[0]
        asked = inputs["input_ids"].shape[1]
        said = self._processor.decode(tokens[asked:], skip_special_tokens=True)
        output = ModelOutput.from_content(self.model_name, said.strip())
        output.usage = ModelUsage(input_tokens=asked, output_tokens=len(tokens) - asked, total_tokens=len(tokens))
        output.time = time.monotonic() - begun
        return output


def _parts(message: ChatMessage) -> list[dict[str, Any]]:
    content = [ContentText(text=message.content)] if isinstance(message.content, str) else message.content
    parts: list[dict[str, Any]] = []
    for part in content:
        if isinstance(part, ContentImage):
            encoded = base64.b64decode(part.image.partition(",")[2])
            parts.append({"type": "image", "image": Image.open(io.BytesIO(encoded)).convert("RGB")})
        elif isinstance(part, ContentText):
            parts.append({"type": "text", "text": part.text})
    return parts
