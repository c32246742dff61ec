"""What work costs, what it may cost, and what it did cost. All money is in US dollars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mis_dataset.errors import BudgetError


@dataclass(frozen=True)
class Cost:
    """What one model did in one stage, or is expected to do."""

    stage: str
    model: str
    """As the recipe names it."""
    requests: int = 0
    """Requests that a server answered; every one counts once, however often its answer was used."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    images: int = 0
    """Images drawn on an accelerator, or by a model that wants one."""
    seconds: float = 0.0
    """Of what drew, or of the server while it answered, summed over requests in flight together."""
    usd: float | None = None
    """None if the recipe names no price."""

    def __add__(self, other: Cost) -> Cost:
        """Both together; the money has to be reckoned anew."""
        return replace(
            self,
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            images=self.images + other.images,
            seconds=self.seconds + other.seconds,
            usd=None,
        )


@dataclass(frozen=True)
class TokenPrice:
    """What a model's tokens cost."""

    prompt: float
    """Per million tokens of prompts."""
    completion: float
    """Per million tokens of answers."""


@dataclass(frozen=True)
class Prices:
    """What a recipe says of prices."""

    gpu_hour: float | None = None
    """Of the accelerator that draws."""
    models: Mapping[str, TokenPrice] = field(default_factory=dict)
    """By the model's name in the recipe."""

    def priced(self, cost: Cost) -> Cost:
        """The cost with its money; without a price for all of it, that stays None."""
        usd = 0.0
        if cost.images:
            if self.gpu_hour is None:
                return replace(cost, usd=None)
            usd += cost.seconds / 3600 * self.gpu_hour
        if cost.requests:
            if (price := self.models.get(cost.model)) is None:
                return replace(cost, usd=None)
            usd += (cost.prompt_tokens * price.prompt + cost.completion_tokens * price.completion) / 1e6
        return replace(cost, usd=usd)


@dataclass(frozen=True)
class Limits:
    """Where a build has to stop. None: nowhere."""

    max_rounds: int = 4
    """Rounds of composing until the quotas are met; the one limit that decides what the dataset holds."""
    max_usd: float | None = None
    max_requests: int | None = None
    max_gpu_seconds: float | None = None

    def check(self, costs: Iterable[Cost], *keys: str, in_flight: int = 0) -> None:
        """Stop if one of some limits is reached.

        Args:
            costs: what was spent.
            keys: ``max_usd``, ``max_requests`` or ``max_gpu_seconds``: those on which the work ahead draws.
            in_flight: requests whose cost is not known yet; they are taken to cost what others cost on average.

        Raises:
            BudgetError: names the limit and what was spent.
        """
        items = list(costs)
        total = Totals.of(items)
        asked = sum(cost.usd or 0.0 for cost in items if cost.requests)
        for key, limit, spent in (
            ("max_usd", self.max_usd, total.usd + in_flight * asked / max(total.requests, 1)),
            ("max_requests", self.max_requests, total.requests + in_flight),
            ("max_gpu_seconds", self.max_gpu_seconds, total.gpu_seconds),
        ):
            if key in keys and limit is not None and spent >= limit:
                pending = f"; {in_flight:,} more in flight" if in_flight else ""
                raise BudgetError(f"limits.{key} = {limit} is reached: {total}{pending}")


def per_row(costs: Iterable[Cost], rows: int) -> dict[str, float | None]:
    """The costs of one accepted row, rounded; the money is that of what has a price, None if nothing has."""
    items = list(costs)
    sums: dict[str, float | None] = {
        key: sum(getattr(cost, key) for cost in items)
        for key in ("requests", "prompt_tokens", "completion_tokens", "images", "seconds")
    }
    priced = [cost.usd for cost in items if cost.usd is not None]
    sums["usd"] = sum(priced) if priced else None
    return {key: None if number is None else round(number / rows, 6) for key, number in sums.items()} if rows else {}


@dataclass(frozen=True)
class Totals:
    """Several costs together."""

    requests: int
    tokens: int
    images: int
    gpu_seconds: float
    usd: float
    """Of what has a price."""
    unpriced: tuple[str, ...]
    """The models that have none."""

    @classmethod
    def of(cls, costs: Iterable[Cost]) -> Totals:
        """Add up."""
        items = list(costs)
        return cls(
            requests=sum(cost.requests for cost in items),
            tokens=sum(cost.prompt_tokens + cost.completion_tokens for cost in items),
            images=sum(cost.images for cost in items),
            gpu_seconds=sum(cost.seconds for cost in items if cost.images),
            usd=sum(cost.usd or 0.0 for cost in items),
            unpriced=tuple(dict.fromkeys(cost.model for cost in items if cost.usd is None)),
        )

    def __str__(self) -> str:
        parts = [f"{self.requests:,} requests", f"{self.tokens:,} tokens", f"{self.gpu_seconds:,.0f} s of drawing"]
        money = f"{self.usd:,.2f} USD" + (f" (no price for {', '.join(self.unpriced)})" if self.unpriced else "")
        return ", ".join([*parts, money])
