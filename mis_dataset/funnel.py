"""The funnel: how many items left each stage in which way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mis_dataset.records import Rejected, Rendered
from mis_dataset.run.shards import Item, Outcome, kind
from mis_dataset.run.stage import Shards


@dataclass(frozen=True)
class FunnelStep:
    """How many items left a stage in one way."""

    stage: str
    outcome: Literal["accepted", "rejected", "failed"]
    reason: str
    """Why, as a snake_case word; empty for ``accepted``."""
    count: int


@dataclass(frozen=True)
class Checks:
    """What a checker made of the images, each counted once."""

    images: int
    """Images that it looked at, those included that were rejected."""
    refined: int
    """Those that were drawn again because it did not see their object."""
    never: int
    """Those that never showed it."""


def checks(rounds: Iterable[Shards[Rendered]]) -> Checks:
    """How often images were drawn again for the checker's sake, over all rounds."""
    shown: dict[str, bool] = {}
    never: dict[str, bool] = {}
    for shards in rounds:
        for item in shards.items():
            match item.outcome:
                case Rendered(pictures=pictures):
                    for picture in pictures:
                        missed = any(attempt.outcome == "not_shown" for attempt in picture.attempts)
                        shown[picture.sha256] = shown.get(picture.sha256, False) or missed
                case Rejected(reason="not_shown", detail=detail):
                    # Twins tell of the image that they share in the same words.
                    never[detail] = detail.count(", not_shown: ") > 1
    return Checks(len(shown) + len(never), sum(shown.values()) + sum(never.values()), len(never))


def composed(rounds: Sequence[Shards[Any]]) -> list[FunnelStep]:
    """What became of the seeds; every round reads them from the start, so the last one knows all that were dropped."""
    outcomes = rounds[-1].outcomes()
    for shards in rounds[:-1]:
        outcomes["accepted", ""] += shards.outcomes()["accepted", ""]
    return steps("compose", outcomes)


def made(rounds: Sequence[Shards[Any]]) -> list[FunnelStep]:
    """How the items of all rounds left a stage."""
    return steps(rounds[0].store.name, sum((shards.outcomes() for shards in rounds), Counter[Outcome]()))


def left(stage: str, accepted: int, dropped: Iterable[Item[Any]]) -> list[FunnelStep]:
    """How rows left a stage that looks at all of them at once."""
    outcomes = Counter((kind(item), getattr(item.outcome, "reason", "")) for item in dropped)
    return [FunnelStep(stage, "accepted", "", accepted), *steps(stage, outcomes)]


def steps(stage: str, outcomes: Counter[Outcome]) -> list[FunnelStep]:
    """Counted outcomes in a fixed order."""
    return [FunnelStep(stage, outcome, reason, count) for (outcome, reason), count in sorted(outcomes.items()) if count]
