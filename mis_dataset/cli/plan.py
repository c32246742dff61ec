"""``mis plan``."""

from __future__ import annotations

from pathlib import Path

import click

from mis_dataset.budget import Cost, Totals
from mis_dataset.cli._console import console, quiet_option, table
from mis_dataset.forecast import Forecast, extrapolate, forecast
from mis_dataset.recipe import Recipe, load_recipe


@click.command(
    epilog="""\b
Examples:
  mis plan builder_scripts/paper.toml
  mis build builder_scripts/paper.toml --out build/sample --limit 14
  mis plan builder_scripts/paper.toml --sample build/sample    by what the sample was measured to need"""
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--limit", type=click.IntRange(min=1), help="Harmful rows at most, in the recipe's proportions.")
@click.option(
    "--sample", type=click.Path(file_okay=False, path_type=Path), help="A small dataset of the same recipe to go by."
)
@quiet_option
def plan(recipe: Path, limit: int | None, sample: Path | None, quiet: bool) -> None:
    """Say what building RECIPE is expected to need: requests, tokens, images, hours of GPUs, money.

    Spends nothing; no server, key, weights or seeds have to be there. Prices come from the recipe's [prices], what the
    plan reckons with from its [rates].
    """
    loaded = load_recipe(recipe)
    if limit is not None:
        loaded = loaded.limited(limit)
    expected = extrapolate(loaded, sample) if sample else forecast(loaded)
    console(quiet=quiet).print(describe(loaded, expected), markup=False)


def describe(recipe: Recipe, expected: Forecast) -> str:
    """The expectation as a table, and what a reader should know of it."""
    if not expected.costs:
        return f"{recipe.name}: {expected.rows} harmful rows and their twins; no server and no accelerator is used"
    total = Totals.of(expected.costs)
    columns = ["stage", "model", "requests", "prompt tokens", "answer tokens", "images", "hours", "USD"]
    rows = [_line(cost) for cost in expected.costs]
    rows += [["all", "", *(_count(sum(getattr(cost, key) for cost in expected.costs)) for key in _COUNTED)]]
    rows[-1] += [_hours(sum(cost.seconds for cost in expected.costs)), f"{total.usd:,.2f}"]
    lines = [table(f"{recipe.name}: {expected.rows} harmful rows and their twins, about", columns, rows)]
    if expected.seeds:
        lines.append(
            f"About {expected.seeds:,} seeds are needed, if they are of the kinds that are wanted; others are "
            "asked about all the same."
        )
    if untimed := [cost.model for cost in expected.costs if cost.requests and not cost.seconds]:
        lines.append(
            f"Not in the hours: {', '.join(dict.fromkeys(untimed))}; for servers of your own, name what they give in "
            "[rates.tokens_per_second]."
        )
    if drawn := [cost.model for cost in expected.costs if cost.images and not cost.seconds]:
        lines.append(
            f"Not in the hours: {', '.join(drawn)}, as it is not known how fast this CPU draws; build a few rows (mis "
            "build RECIPE --out build/sample --limit 5) and say --sample build/sample, or name "
            "rates.seconds_per_image."
        )
    if total.unpriced:
        lines.append(f"Not in USD: {', '.join(total.unpriced)}; name what they cost in [prices].")
    limits = {
        "max_usd": recipe.limits.max_usd,
        "max_requests": recipe.limits.max_requests,
        "max_gpu_seconds": recipe.limits.max_gpu_seconds,
    }
    if named := [f"{key} = {value:,}" for key, value in limits.items() if value is not None]:
        lines.append(f"The build stops at {', '.join(named)}.")
    return "\n".join(lines)


_COUNTED = ("requests", "prompt_tokens", "completion_tokens", "images")


def _line(cost: Cost) -> list[str]:
    usd = "?" if cost.usd is None else f"{cost.usd:,.2f}"
    return [cost.stage, cost.model, *(_count(getattr(cost, key)) for key in _COUNTED), _hours(cost.seconds), usd]


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return (f"{hours:,.1f}" if hours >= 1 else f"{hours:.4f}") if seconds else ""


def _count(number: int) -> str:
    return f"{number:,}" if number else ""
