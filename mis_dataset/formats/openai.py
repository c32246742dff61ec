"""OpenAI-style chat: JSON lines for fine-tuning, or a batch of requests.

A line for fine-tuning is ``{"messages": [user, assistant]}``; one of a batch is a request without an answer::

    {"custom_id": …, "method": "POST", "url": "/v1/chat/completions", "body": {"model": …, "messages": [user], …}}

The user's content is one ``image_url`` part per image and a ``text`` part. Sources:
https://platform.openai.com/docs/guides/vision-fine-tuning (PNG, JPEG or WebP; at most 10 images a row, of 10 MB each)
and https://platform.openai.com/docs/guides/batch (at most 50,000 requests and 200 MB a file). Other servers take the
same files, such as vLLM (``vllm run-batch``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mis_dataset.errors import DatasetError
from mis_dataset.formats._images import ImageFolder, joined, pictures
from mis_dataset.formats._json import compact, json_lines
from mis_dataset.formats._texts import response
from mis_dataset.formats.source import TESTING, TRAINING, Source, Takes
from mis_dataset.options import option


@dataclass(frozen=True, kw_only=True)
class Openai:
    """One file a subset for fine-tuning; as many files a subset as the limits ask for in a batch."""

    kind: Literal["finetune", "batch"] = option("finetune", "Rows to learn from, or requests to answer.")
    images: Literal["data", "files"] = option("data", "Images as data URLs, or as files whose paths are told.")
    root: str = option("", "Put before the paths of image files, such as file:///data/mis.")
    longest_side: int = option(0, "Shrink images to so many pixels, as JPEG; 0 leaves them as they are.", minimum=0)
    model: str = option("gpt-4o", "Who answers a batch.")
    max_tokens: int = option(1024, "The longest answer to a request of a batch.", minimum=1)
    max_requests: int = option(50_000, "Requests in a file of a batch at most.", minimum=1)
    max_bytes: int = option(200_000_000, "Size of a file of a batch at most.", minimum=1)

    @property
    def takes(self) -> Takes:
        """Rows to learn from are of train, requests of test."""
        return TRAINING if self.kind == "finetune" else TESTING

    def write(self, source: Source, out: Path) -> None:
        """Write ``finetune-<subset>.jsonl``, or ``batch-<subset>-00001.jsonl`` and so on."""
        for subset in source.subsets:
            folder = ImageFolder(out, subset)
            if self.kind == "finetune":
                with json_lines(out / f"finetune-{subset}.jsonl") as add:
                    for row in source.rows(subset):
                        answer = {"role": "assistant", "content": response(row)}
                        add({"messages": [self._user(row, folder), answer]})
            else:
                requests = ((row["id"], self._request(row, folder)) for row in source.rows(subset))
                self._write_batches(requests, out / f"batch-{subset}")

    def _user(self, row: dict[str, Any], folder: ImageFolder) -> dict[str, Any]:
        shown = pictures(row, self.longest_side)
        if self.images == "data":
            urls = [image.data_url for image in shown]
        else:
            urls = joined(self.root, folder.add(row, shown))
        parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return {"role": "user", "content": [*parts, {"type": "text", "text": row["question"]}]}

    def _request(self, row: dict[str, Any], folder: ImageFolder) -> str:
        body = {
            "model": self.model,
            "messages": [self._user(row, folder)],
            "max_completion_tokens": self.max_tokens,
        }
        return compact({"custom_id": row["id"], "method": "POST", "url": "/v1/chat/completions", "body": body})

    def _write_batches(self, requests: Iterator[tuple[str, str]], stem: Path) -> None:
        with ExitStack() as files:
            number = count = size = 0
            for name, request in requests:
                line = f"{request}\n".encode()
                if len(line) > self.max_bytes:
                    remedy = "shrink images with longest_side, or write them as files"
                    problem = f"{name}: its request has {len(line):,} bytes, the limit is {self.max_bytes:,}; {remedy}"
                    raise DatasetError("a row does not fit into a batch:", [problem])
                if number == 0 or count == self.max_requests or size + len(line) > self.max_bytes:
                    files.close()
                    number, count, size = number + 1, 0, 0
                    file = files.enter_context(stem.with_name(f"{stem.name}-{number:05d}.jsonl").open("wb"))
                file.write(line)
                count, size = count + 1, size + len(line)
