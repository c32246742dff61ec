"""A small recipe whose every repetition shows: a renderer that logs what it draws, and servers that count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chat_server import Call, Reply, later, say_json
from lab import seen
from served_teacher import teacher_says

from mis_dataset.schema import load_schema

CONCURRENCY = 2
"""Requests that the teacher keeps in flight, and as many the judge."""

_RECIPE = """
name = "durable"
seed = 11
shard_size = {shard_size}

[quotas]
train = {{ "Property Crimes" = 1 }}
easy = {{ "Cybercrimes" = 1 }}
hard = {{ "Drug-Related Offenses" = 2 }}

[compose]
backend = "grammar"

[render]
backend = "lab:Sleepy"
seconds = {seconds}
log = "{log}"

[teach]
backend = "openai_chat"
{server}

[[screen]]
backend = "openai_judge"
{server}
"""
_SERVER = 'base_url = "{url}"\nmodel = "m"\napi_key_env = ""\nmax_retries = 0\nconcurrency = {concurrency}'


def script(call: Call) -> Reply:
    """What the teacher or the judge says, whoever is asked; it takes a moment, so that something is in flight."""
    return later(_judge_says(call) if _is_judged(call) else teacher_says(call), 0.02)


def durable_text(url: str, log: Path, *, seconds: float = 0.01, shard_size: int = 5) -> str:
    """A recipe whose renderer takes ``seconds`` for an image and logs it, with teacher and judge behind ``url``."""
    server = _SERVER.format(url=url, concurrency=CONCURRENCY)
    return _RECIPE.format(server=server, log=log, seconds=seconds, shard_size=shard_size)


@dataclass(frozen=True)
class Repeats:
    """How often something was done that had been done before."""

    drawings: int
    labels: int
    verdicts: int


def repeats(log: Path, calls: Iterable[Call]) -> Repeats:
    """Count from a renderer's log and a server's calls."""
    asked = list(calls)
    return Repeats(
        _repeated(seen(log)),
        _repeated(str(call.body) for call in asked if not _is_judged(call)),
        _repeated(str(call.body) for call in asked if _is_judged(call)),
    )


def _is_judged(call: Call) -> bool:
    return "<perception>" in call.texts[-1]


def _judge_says(call: Call) -> Reply:
    intent = "harmful" if "could harm somebody" in call.texts[-1] else "benign"
    checks = load_schema(f"judge_{intent}")["required"][1:-1]
    return say_json({"seen": "Things.", **dict.fromkeys(checks, True), "critique": ""})


def _repeated(names: Iterable[str]) -> int:
    counts = Counter(names)
    return counts.total() - len(counts)
