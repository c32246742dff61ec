"""The content policy as functions; the words and patterns lie in ``dataset_card/policy.toml``.

Words match from their beginning (``burgl`` finds "burglar"), patterns anywhere, both without case.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from mis_dataset.resources import resource


@dataclass(frozen=True)
class _Policy:
    intent: re.Pattern[str]
    operational: re.Pattern[str]
    minor: re.Pattern[str]
    sexual: re.Pattern[str]


def operational_detail(text: str) -> str | None:
    """The first excerpt of ``text`` that looks like operational detail (an amount, a numbered step), or None."""
    found = _policy().operational.search(text)
    return found[0].strip() if found else None


def intent_words(question: str) -> list[str]:
    """The words of ``question`` that give a harmful intent away, as they stand there, in order."""
    return [found[0].strip() for found in _policy().intent.finditer(question)]


def unsafe_for_minors(texts: Iterable[str]) -> bool:
    """Whether words for minors and sexual words meet anywhere in the texts of one row."""
    joined = "\n".join(texts)
    policy = _policy()
    return bool(policy.sexual.search(joined) and policy.minor.search(joined))


@cache
def _policy() -> _Policy:
    with resource("dataset_card", "policy.toml").open("rb") as file:
        data = tomllib.load(file)
    return _Policy(
        intent=_any(data["intent_words"], r"\b"),
        operational=_any(data["operational_detail"]),
        minor=_any(data["minor_words"], r"\b"),
        sexual=_any(data["sexual_words"], r"\b"),
    )


def _any(patterns: list[str], before: str = "") -> re.Pattern[str]:
    return re.compile("|".join(f"{before}(?:{pattern})" for pattern in patterns), re.IGNORECASE)
