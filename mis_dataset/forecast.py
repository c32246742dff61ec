"""What a recipe is expected to need, before anything is spent: requests, tokens, images, GPU time, money.

Two ways. `forecast` reckons from the recipe's rates and the prompts' lengths. `extrapolate` takes what a small build of
the same recipe was measured to need, and multiplies; it knows the answers' real lengths, rejects and repairs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from mis_dataset.assemble.layout import RECIPE
from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.backends import find_backend
from mis_dataset.budget import Cost, Totals
from mis_dataset.chat import Ask
from mis_dataset.errors import UsageError
from mis_dataset.real import asked_for
from mis_dataset.recipe import BackendSpec, Rates, Recipe
from mis_dataset.records import SHARDED_STAGES

_CHEAP_USD, _SHORT_S, _FEW_REQUESTS = 1.0, 3600.0, 1000


@dataclass(frozen=True)
class Forecast:
    """What is expected."""

    rows: int
    """Harmful rows wanted."""
    seeds: int
    """Seeds that a composing model has to be given; 0 if none composes, or if they were not reckoned."""
    costs: tuple[Cost, ...]

    def until(self, stage: str) -> Forecast:
        """What is expected up to and including a stage."""
        if stage not in SHARDED_STAGES:
            return self
        stages = SHARDED_STAGES[: SHARDED_STAGES.index(stage) + 1]
        return replace(self, costs=tuple(cost for cost in self.costs if cost.stage in stages))

    @property
    def is_costly(self) -> bool:
        """Whether a person should agree first: money, GPU hours, or many requests of unknown price."""
        total = Totals.of(self.costs)
        unpriced = sum(cost.requests for cost in self.costs if cost.usd is None)
        return total.usd > _CHEAP_USD or total.gpu_seconds > _SHORT_S or unpriced > _FEW_REQUESTS


def forecast(recipe: Recipe) -> Forecast:
    """Reckon from the recipe alone: no server, key, weights or seeds have to be there.

    Losses between stages are not deducted, so this is rather too much than too little.

    Raises:
        BackendError: a backend cannot be found.
    """
    rates, twins = recipe.rates, recipe.twins
    families = {
        cell: max(ceil(rows * recipe.oversample), ceil(rows / rates.accepted)) for cell, rows in recipe.quotas.items()
    }
    # Rows of `real` are hard ones told again: composed once for both, and photographed in place of drawn.
    composed = sum(asked_for(families).values())
    drawn = sum(count for (subset, _), count in families.items() if subset != "real")
    everything = sum(families.values())
    # A twin shares all images but one with its harmful row.
    images_each = rates.images_per_question + twins
    units = {
        "seed": composed / rates.families_per_seed,
        "family": everything,
        "image": everything * images_each,
        "row": everything * (1 + twins),
    }

    def asked(stage: str, spec: BackendSpec | None, times: float = 1.0, **fewer: float) -> list[Cost]:
        return _asked(recipe, stage, spec, {**units, **fewer}, times) if spec else []

    costs = [
        *asked("compose", recipe.compose, family=composed),
        *_drawn(recipe, drawn * images_each * (1 + rates.redraws)),
        *asked("render", recipe.check, 1 + rates.redraws),
        *asked("teach", recipe.teach, 1 + rates.rewrites),
        *(cost for critic in recipe.critics for cost in asked("teach", critic, 1 + rates.rewrites)),
        *(cost for screener in recipe.screen for cost in asked("screen", screener)),
    ]
    needs_seeds = any(ask.per == "seed" for ask in _asks(recipe.compose))
    return Forecast(
        rows=sum(recipe.quotas.values()),
        seeds=ceil(units["seed"]) if needs_seeds else 0,
        costs=tuple(recipe.prices.priced(cost) for cost in _merged(costs)),
    )


def extrapolate(recipe: Recipe, sample: Path) -> Forecast:
    """Multiply what the dataset in ``sample`` was measured to need for each of its harmful rows.

    Raises:
        DatasetError: there is no dataset in ``sample``.
        UsageError: it is another recipe's, or has no rows.
    """
    manifest = read_manifest(sample)
    if other := _difference(recipe, sample):
        raise UsageError(f"{sample} was built from another recipe: {', '.join(other)} differ; sample this one")
    got = sum(quota["got"] for quota in manifest["quotas"])
    if not got:
        raise UsageError(f"{sample} has no harmful rows; build a larger sample")
    rows = sum(recipe.quotas.values())
    costs = (_scaled(_timed(recipe, Cost(**cost)), rows / got) for cost in manifest["spent"])
    return Forecast(rows, 0, tuple(recipe.prices.priced(cost) for cost in costs))


def _difference(recipe: Recipe, sample: Path) -> list[str]:
    """The recipe's tables in which a sample's differs, whatever its size."""
    try:
        theirs = tomllib.loads((sample / RECIPE).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return [RECIPE]
    ours = tomllib.loads(recipe.canonical())
    keys = (ours.keys() | theirs.keys()) - {"quotas", "earlier", "limits", "card", "seed", "real"}
    return sorted(key for key in keys if ours.get(key) != theirs.get(key))


def _asked(recipe: Recipe, stage: str, spec: BackendSpec, units: Mapping[str, float], times: float) -> list[Cost]:
    """One line per kind of request that a backend makes."""
    rates = recipe.rates
    lines = []
    for ask in _asks(spec):
        requests = units[ask.per] * times
        prompt = ask.prompt_tokens(rates.image_tokens, rates.images_per_question)
        model = str(spec.options.get("model", spec.backend))
        answers = round(requests * ask.answer_tokens)
        seconds = answers / rates.tokens_per_second[model] if model in rates.tokens_per_second else 0.0
        lines.append(Cost(stage, model, round(requests), round(requests * prompt), answers, 0, seconds))
    return lines


def _drawn(recipe: Recipe, images: float) -> list[Cost]:
    renderer = find_backend("render", recipe.render.backend)
    if not getattr(renderer, "wants_gpu", False):
        return []
    model = str(recipe.render.options.get("model", recipe.render.backend))
    each = recipe.rates.seconds_per_image
    if recipe.render.options.get("device") == "cpu" and each == Rates.seconds_per_image:
        # What is reckoned with unasked is a GPU's.
        each = 0.0
    return [Cost("render", model, images=round(images), seconds=round(images * each, 1))]


def _asks(spec: BackendSpec) -> Sequence[Ask]:
    asks: Sequence[Ask] = getattr(find_backend(spec.stage, spec.backend), "asks", ())
    return asks


def _merged(costs: Sequence[Cost]) -> list[Cost]:
    """One line per stage and model."""
    merged: dict[tuple[str, str], Cost] = {}
    for cost in costs:
        key = cost.stage, cost.model
        merged[key] = merged[key] + cost if key in merged else cost
    return list(merged.values())


def _timed(recipe: Recipe, cost: Cost) -> Cost:
    """With the GPU's seconds; those of a server's answers are no measure of its GPU's."""
    if cost.images:
        return cost
    rate = recipe.rates.tokens_per_second.get(cost.model)
    return replace(cost, seconds=cost.completion_tokens / rate if rate else 0.0)


def _scaled(cost: Cost, factor: float) -> Cost:
    numbers: dict[str, Any] = {
        name: round(getattr(cost, name) * factor)
        for name in ("requests", "prompt_tokens", "completion_tokens", "images")
    }
    return replace(cost, **numbers, seconds=cost.seconds * factor, usd=None)
