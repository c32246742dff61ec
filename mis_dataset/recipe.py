"""Recipes: TOML files that decide everything about a dataset, checked as a whole before anything is spent."""

from __future__ import annotations

import copy
import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from mis_dataset.backends import BACKEND_STAGES, find_backend
from mis_dataset.errors import BackendError, RecipeError
from mis_dataset.options import options_schema
from mis_dataset.resources import resource
from mis_dataset.taxonomy import taxonomy

Cell = tuple[str, str]
"""A subset and a sub-category: the grid in which quotas are set."""


@dataclass(frozen=True)
class BackendSpec:
    """Which backend does a stage's work, with its settings."""

    stage: str
    backend: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class SplitSpec:
    """How rows are chosen; see the schema for what each key does."""

    image_distance: int = 3
    max_same_question: int = 8
    on_shortfall: str = "report"


@dataclass(frozen=True)
class CardSpec:
    """What the card says beyond the data."""

    pretty_name: str = "MIS: Multi-Image Safety"
    license: str = "cc-by-4.0"
    languages: tuple[str, ...] = ("en",)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A checked recipe."""

    name: str
    seed: int
    text: str
    """The TOML as written; published with the dataset."""
    quotas: Mapping[Cell, int]
    """Harmful rows wanted per cell."""
    oversample: float
    twins: float
    max_redraws: int
    compose: BackendSpec
    render: BackendSpec
    teach: BackendSpec
    screen: tuple[BackendSpec, ...]
    split: SplitSpec
    card: CardSpec
    shard_size: int

    def limited(self, rows: int) -> Recipe:
        """The same recipe for at most ``rows`` harmful rows, in the same proportions."""
        total = sum(self.quotas.values())
        return self if rows >= total else replace(self, quotas=spread(rows, self.quotas))


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
    if problems := list(_problems(data)):
        raise RecipeError(f"{path} has {len(problems)} mistake{'s'[: len(problems) != 1]}:", problems)
    return _recipe(data, text)


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of everything in a recipe but the settings of its backends."""
    schema: dict[str, Any] = json.loads(
        resource("dataset_card", "schemas", "recipe.schema.json").read_text(encoding="utf-8")
    )
    return schema


def _recipe(data: Mapping[str, Any], text: str) -> Recipe:
    properties = recipe_schema()["properties"]
    common = {stage: set(_stage_schema(properties, stage)["properties"]) for stage in BACKEND_STAGES}

    def spec(stage: str, table: Mapping[str, Any]) -> BackendSpec:
        options = {key: value for key, value in table.items() if key not in common[stage]}
        return BackendSpec(stage, table["backend"], options)

    def setting(stage: str, key: str) -> Any:
        return data[stage].get(key, properties[stage]["properties"][key]["default"])

    card = {key: tuple(value) if isinstance(value, list) else value for key, value in data.get("card", {}).items()}
    return Recipe(
        name=data["name"],
        seed=data["seed"],
        text=text,
        quotas=_quotas(data["quotas"]),
        oversample=setting("compose", "oversample"),
        twins=setting("compose", "twins"),
        max_redraws=setting("render", "max_redraws"),
        compose=spec("compose", data["compose"]),
        render=spec("render", data["render"]),
        teach=spec("teach", data["teach"]),
        screen=tuple(spec("screen", table) for table in data["screen"]),
        split=SplitSpec(**data.get("split", {})),
        card=CardSpec(**card),
        shard_size=data.get("shard_size", properties["shard_size"]["default"]),
    )


def _quotas(table: Mapping[str, int | Mapping[str, int]]) -> dict[Cell, int]:
    names = list(taxonomy().sub_categories)
    quotas: dict[Cell, int] = {}
    for subset, wanted in table.items():
        shares = wanted if isinstance(wanted, Mapping) else spread(wanted, dict.fromkeys(names, 1))
        quotas |= {(subset, name): shares[name] for name in names if shares.get(name)}
    return quotas


def _stage_schema(properties: dict[str, Any], stage: str) -> dict[str, Any]:
    schema: dict[str, Any] = properties[stage]
    return schema["items"] if schema["type"] == "array" else schema


def _problems(data: dict[str, Any]) -> Iterator[str]:
    """Check the recipe and, in the same go, the settings of every backend that can be found."""
    schema = recipe_schema()
    yield from _explain(Draft202012Validator(schema).iter_errors(data), "")
    for stage in BACKEND_STAGES:
        tables = data.get(stage)
        for number, table in enumerate(tables if isinstance(tables, list) else [tables]):
            if not isinstance(table, dict) or not isinstance(table.get("backend"), str):
                continue
            where = f"{stage}[{number}]" if isinstance(tables, list) else stage
            try:
                own = options_schema(find_backend(stage, table["backend"]))
            except BackendError as error:
                yield str(error).replace(f"{stage}.backend", f"{where}.backend", 1)
                continue
            merged = copy.deepcopy(_stage_schema(schema["properties"], stage)["properties"])
            common = {key: value for key, value in table.items() if key in merged}
            own["properties"] |= dict.fromkeys(merged, {})
            yield from _explain(Draft202012Validator(own).iter_errors({**table, **common}), where)


def _explain(errors: Iterable[ValidationError], where: str) -> Iterator[str]:
    for error in sorted(errors, key=lambda error: [str(part) for part in error.absolute_path]):
        path = where
        for part in error.absolute_path:
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
        yield from _sentence(error, path)


def _sentence(error: ValidationError, path: str) -> Iterator[str]:
    value = error.instance
    match error.validator:
        case "additionalProperties" | "propertyNames" if isinstance(value, dict):
            allowed = sorted(error.schema.get("properties", {}))
            for key in sorted(value.keys() - set(allowed)):
                close = difflib.get_close_matches(key, allowed, 1)
                guess = f"did you mean {close[0]!r}? " if close else ""
                yield f"{path + '.' if path else ''}{key}: unknown key; {guess}allowed are {', '.join(allowed)}"
        case "required":
            missing = next(key for key in error.validator_value if f"'{key}'" in error.message)
            yield f"{path + '.' if path else ''}{missing}: missing; it is required"
        case "enum":
            choices = ", ".join(map(str, error.validator_value))
            close = difflib.get_close_matches(str(value), list(map(str, error.validator_value)), 1)
            yield f"{path}: {value!r} is not allowed{f'; did you mean {close[0]!r}?' if close else ''}; allowed are {choices}"
        case "oneOf" if error.context:
            fitting = "object" if isinstance(value, dict) else "integer"
            for inner in error.context:
                if inner.schema.get("type") == fitting or inner.relative_path or inner.validator == "enum":
                    yield from _explain_inner(inner, path)
            if not isinstance(value, (dict, int)) or isinstance(value, bool):
                yield f"{path}: {value!r} is neither a number of rows nor a table of sub-categories"
        case "type":
            yield f"{path}: {value!r} is not of the type {error.validator_value}"
        case "pattern":
            yield f"{path}: {value!r} does not match {error.validator_value} ({error.schema.get('description', 'a pattern')})"
        case _:
            yield f"{path}: {error.message}"


def _explain_inner(error: ValidationError, path: str) -> Iterator[str]:
    inner = path
    for part in error.relative_path:
        inner += f".{part}"
    if error.validator == "type":
        return
    yield from _sentence(error, inner)
