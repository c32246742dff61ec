"""What became of the requests to servers while a build goes, by stage and model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Traffic:
    """The requests of one stage to one model since the build began."""

    stage: str
    model: str
    """As the recipe names it."""
    answered: int
    """Requests whose answer was paid for; what was kept from before is not asked again, and not counted."""
    troubles: Mapping[str, int]
    """Tries that came to nothing, by reason (``rate_limited``, ``timed_out``, …), the most frequent first; most are
    tried again."""

    @property
    def error_rate(self) -> float:
        """The share of tries that came to nothing, 0 to 1."""
        troubled = sum(self.troubles.values())
        return troubled / (self.answered + troubled)


class TrafficCounter:
    """Counts answers and troubles; not safe to use from several threads at once."""

    def __init__(self) -> None:
        self._answered = Counter[tuple[str, str]]()
        self._troubles: dict[tuple[str, str], Counter[str]] = {}

    def answered(self, stage: str, model: str) -> None:
        """A request was answered."""
        self._answered[stage, model] += 1

    def troubled(self, stage: str, model: str, reason: str) -> None:
        """A try came to nothing."""
        self._troubles.setdefault((stage, model), Counter())[reason] += 1

    def traffic(self) -> tuple[Traffic, ...]:
        """Everything so far, by stage and model in the order of their first endings."""
        return tuple(
            Traffic(*key, self._answered[key], dict(self._troubles.get(key, Counter[str]()).most_common()))
            for key in dict.fromkeys((*self._answered, *self._troubles))
        )
