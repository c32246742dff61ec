"""Recipes: TOML files that decide everything about a dataset, checked as a whole before anything is spent."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from mis_dataset.backends import make_backend
from mis_dataset.budget import Limits, Prices, TokenPrice
from mis_dataset.errors import RecipeError
from mis_dataset.mistakes import mistakes
from mis_dataset.options import identity
from mis_dataset.recipe_checks import TABLES, problems, recipe_schema, table_schema, tables
from mis_dataset.tables import BenchmarkSettings
from mis_dataset.taxonomy import taxonomy

Cell = tuple[str, str]
"""A subset and a sub-category: the grid in which quotas are set."""


@dataclass(frozen=True)
class BackendSpec:
    """Which backend does a stage's work, with its settings."""

    stage: str
    backend: str
    options: Mapping[str, Any]

    def canonical(self) -> dict[str, Any]:
        """The backend and all its settings but tuning knobs, defaults included; an unset one is left out."""
        settings = identity(make_backend(self.stage, self.backend, self.options))["settings"]
        return {"backend": self.backend, **{key: value for key, value in settings.items() if value is not None}}


@dataclass(frozen=True)
class SplitSpec:
    """How rows are chosen; see the schema for what each key does."""

    image_distance: int = 3
    max_same_question: int = 8
    agreement: str = "majority"
    on_shortfall: str = "report"


@dataclass(frozen=True)
class CardSpec:
    """What the card says beyond the data."""

    pretty_name: str = "MIS: Multi-Image Safety"
    license: str = "cc-by-4.0"
    languages: tuple[str, ...] = ("en",)
    tags: tuple[str, ...] = ()

    def mistakes(self) -> list[str]:
        """What the Hub would refuse, in the words for a recipe's ``[card]``; empty if there is nothing."""
        table = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return list(mistakes(table, recipe_schema()["properties"]["card"], "card"))


@dataclass(frozen=True)
class Rates:
    """What the plan reckons with; see the schema for what each key means."""

    seconds_per_image: float = 4.0
    image_tokens: int = 1000
    images_per_question: float = 2.3
    families_per_seed: float = 0.4
    accepted: float = 0.6
    redraws: float = 0.2
    rewrites: float = 0.1
    tokens_per_second: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A checked recipe."""

    name: str
    seed: int
    quotas: Mapping[Cell, int]
    """Harmful rows wanted per cell."""
    earlier: tuple[Mapping[Cell, int], ...]
    """The quotas of the versions that this one goes on from, oldest first."""
    oversample: float
    twins: float
    max_redraws: int
    compose: BackendSpec
    render: BackendSpec
    real: BackendSpec | None
    check: BackendSpec | None
    max_refinements: int
    teach: BackendSpec
    max_rewrites: int
    critics: tuple[BackendSpec, ...]
    screen: tuple[BackendSpec, ...]
    benchmarks: tuple[Mapping[str, Any], ...]
    """Settings of the benchmarks to which no row may come near."""
    split: SplitSpec
    limits: Limits
    prices: Prices
    rates: Rates
    card: CardSpec
    shard_size: int

    @property
    def versions(self) -> tuple[Mapping[Cell, int], ...]:
        """The quotas of every version, oldest first, this one last; each keeps all rows of the one before it."""
        return (*self.earlier, self.quotas)

    def limited(self, rows: int) -> Recipe:
        """The same recipe for at most ``rows`` harmful rows, in the same proportions; goes on from no other version."""
        subsets: dict[str, dict[Cell, int]] = {}
        for cell, wanted in self.quotas.items():
            subsets.setdefault(cell[0], {})[cell] = wanted
        totals = {subset: sum(cells.values()) for subset, cells in subsets.items()}
        if rows >= sum(totals.values()):
            return self
        quotas: dict[Cell, int] = {}
        for subset, share in spread(rows, totals).items():
            # Each subset starts where the one before it stopped, so that few rows still cover many sub-categories.
            cells, start = list(subsets[subset].items()), sum(quotas.values()) % len(subsets[subset])
            quotas |= spread(share, dict(cells[start:] + cells[:start]))
        left = {cell: quotas[cell] for cell in self.quotas if quotas[cell]}
        has_real = any(subset == "real" for subset, _ in left)
        return replace(self, quotas=left, earlier=(), real=self.real if has_real else None)

    def canonical(self) -> str:
        """The recipe as TOML with every value spelt out, without comments and whatever changes no output.

        This is what a dataset carries; building it again gives the same bytes. Servers' addresses, prices and what may
        be spent are left out with the tuning knobs: whoever builds it again names their own.
        """
        *earlier, quotas = map(_nested, self.versions)
        real = {"real": self.real.canonical()} if self.real else {}
        check = {"check": {**self.check.canonical(), "max_refinements": self.max_refinements}} if self.check else {}
        near = [
            {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in identity(one)["settings"].items()
            }
            for one in (BenchmarkSettings(**settings) for settings in self.benchmarks)
        ]
        benchmarks = {"decontaminate": near} if near else {}
        critics = {"critic": [spec.canonical() for spec in self.critics]} if self.critics else {}
        return tomli_w.dumps(
            {
                "name": self.name,
                "seed": self.seed,
                "quotas": quotas,
                **({"earlier": earlier} if earlier else {}),
                "compose": {**self.compose.canonical(), "oversample": self.oversample, "twins": self.twins},
                "render": {**self.render.canonical(), "max_redraws": self.max_redraws},
                **real,
                **check,
                "teach": {**self.teach.canonical(), "max_rewrites": self.max_rewrites},
                **critics,
                "screen": [spec.canonical() for spec in self.screen],
                **benchmarks,
                "split": asdict(self.split),
                "limits": {"max_rounds": self.limits.max_rounds},
                "card": asdict(self.card),
            }
        )


def spread(total: int, weights: Mapping[Any, int]) -> dict[Any, int]:
    """Share ``total`` out in proportion to ``weights``, exactly, by largest remainders."""
    whole = sum(weights.values())
    shares = {key: divmod(total * weight, whole) for key, weight in weights.items()}
    rest = total - sum(share for share, _ in shares.values())
    luckiest = sorted(shares, key=lambda key: -shares[key][1])[:rest]
    return {key: share + (key in luckiest) for key, (share, _) in shares.items()}


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: unreadable, not TOML, or against the schema; every mistake is listed with its key path.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: there is no such recipe", ["shipped recipes lie in builder_scripts/"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read", [str(error)]) from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML", [str(error)]) from error
    if found := list(problems(data)):
        raise RecipeError(f"{path} has {len(found)} mistake{'s'[: len(found) != 1]}:", found)
    recipe = _recipe(data)
    for number, (before, after) in enumerate(itertools.pairwise(recipe.versions)):
        if less := fewer(before, after):
            (cell, rows), others = next(iter(less.items())), len(less) - 1
            raise RecipeError(
                f"{path}: a version keeps all rows, but earlier[{number}] wants more than the next:",
                [
                    f"{' / '.join(cell)}: {rows}, and then {after.get(cell, 0)}{f'; {others} more' if others else ''}",
                    "ask for as many, or delete [[earlier]] to start anew",
                ],
            )
    return recipe


def _recipe(data: Mapping[str, Any]) -> Recipe:
    properties = recipe_schema()["properties"]

    def specs(name: str) -> tuple[BackendSpec, ...]:
        common = table_schema(properties, name)["properties"].keys()
        return tuple(
            BackendSpec(TABLES[name], table["backend"], {key: table[key] for key in table if key not in common})
            for table in tables(data, name)
        )

    def setting(name: str, key: str) -> Any:
        return data.get(name, {}).get(key, properties[name]["properties"][key]["default"])

    card: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.get("card", {}).items()
    }
    return Recipe(
        name=data["name"],
        seed=data["seed"],
        quotas=_quotas(data["quotas"]),
        earlier=tuple(map(_quotas, data.get("earlier", []))),
        oversample=setting("compose", "oversample"),
        twins=setting("compose", "twins"),
        max_redraws=setting("render", "max_redraws"),
        compose=specs("compose")[0],
        render=specs("render")[0],
        real=next(iter(specs("real")), None),
        check=next(iter(specs("check")), None),
        max_refinements=setting("check", "max_refinements"),
        teach=specs("teach")[0],
        max_rewrites=setting("teach", "max_rewrites"),
        critics=specs("critic"),
        screen=specs("screen"),
        benchmarks=tuple(data.get("decontaminate", [])),
        split=SplitSpec(**data.get("split", {})),
        limits=Limits(**data.get("limits", {})),
        prices=_prices(data.get("prices", {})),
        rates=Rates(**data.get("rates", {})),
        card=CardSpec(**card),
        shard_size=data.get("shard_size", properties["shard_size"]["default"]),
    )


def _prices(table: Mapping[str, Any]) -> Prices:
    models = {name: TokenPrice(**price) for name, price in table.get("models", {}).items()}
    return Prices(table.get("gpu_hour"), models)


def fewer(before: Mapping[Cell, int], after: Mapping[Cell, int]) -> dict[Cell, int]:
    """The cells of which ``after`` wants fewer rows, with what ``before`` wants."""
    return {cell: rows for cell, rows in before.items() if after.get(cell, 0) < rows}


def _nested(quotas: Mapping[Cell, int]) -> dict[str, dict[str, int]]:
    """Quotas as a recipe's table."""
    table: dict[str, dict[str, int]] = {}
    for (subset, sub_category), rows in quotas.items():
        table.setdefault(subset, {})[sub_category] = rows
    return table


def _quotas(table: Mapping[str, int | Mapping[str, int]]) -> dict[Cell, int]:
    names = list(taxonomy().sub_categories)
    quotas: dict[Cell, int] = {}
    for subset, wanted in table.items():
        shares = wanted if isinstance(wanted, Mapping) else spread(wanted, dict.fromkeys(names, 1))
        quotas |= {(subset, name): shares[name] for name in names if shares.get(name)}
    return quotas
