"""The JSON Schemas in ``dataset_card/schemas`` as Arrow types, as `datasets` features, and as checks of values.

The schemas are the source of truth for the public columns; everything here is derived from them. A schema whose
``x-feature`` is ``image`` stands for the features' ``Image``: the encoded bytes and a file name. What is marked
``x-if-known`` may be null, an empty list or a shorter one in a dataset that others made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pyarrow as pa
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from mis_dataset.resources import resource

_SCALARS = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}
_MAX_MESSAGE = 200


@cache
def load_schema(name: str) -> dict[str, Any]:
    """The schema ``row``, ``provenance``, ``manifest`` or ``recipe``; do not change it, it is shared."""
    text = resource("dataset_card", "schemas", f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def lenient_schema(name: str) -> dict[str, Any]:
    """The schema for a dataset that was imported: what is marked ``x-if-known`` may be unknown."""
    lenient: dict[str, Any] = _lenient(load_schema(name))
    return lenient


def arrow_schema(name: str) -> pa.Schema:
    """The Arrow schema of a table whose rows follow the schema ``name``, columns in the schema's order."""
    properties = load_schema(name)["properties"]
    return pa.schema([pa.field(key, _arrow_type(schema)) for key, schema in properties.items()])


def yaml_features(name: str) -> list[dict[str, Any]]:
    """The features as they stand in a card's YAML, in the form that `datasets` 2, 3, 4 and 5 all read.

    A list of structs is a ``list`` there, never a ``sequence``: old versions would turn it into a struct of lists.
    """
    return [{"name": key, **_feature(schema)} for key, schema in load_schema(name)["properties"].items()]


def checker(schema: Mapping[str, Any]) -> Callable[[Any], list[str]]:
    """Compile a schema once; the result lists everything wrong with a value as ``images[1].sha256: …``."""
    validator = _Validator(schema)

    def check(value: Any) -> list[str]:
        errors = sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path])
        return [_sentence(error) for error in errors]

    return check


# Encoded images are bytes in a row, and JSON has no bytes: here a string may be either, and Arrow says which it is.
_Validator = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("string", lambda _, value: isinstance(value, str | bytes)),
)


def _lenient(part: Any) -> Any:
    if isinstance(part, list):
        return [_lenient(item) for item in part]
    if not isinstance(part, dict):
        return part
    found = {key: _lenient(value) for key, value in part.items()}
    if not found.pop("x-if-known", False):
        return found
    if _kind(found) == "array":
        return {key: value for key, value in found.items() if key != "minItems"}
    return found | {"type": [_kind(found), "null"]}


def _kind(schema: Mapping[str, Any]) -> str:
    """The JSON type, null left aside: every Arrow column may hold null."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return str(next(kind for kind in kinds if kind != "null"))


def _arrow_type(schema: Mapping[str, Any]) -> pa.DataType:
    match _kind(schema):
        case "array":
            # Parquet calls a list's items "element"; using that name makes what is read equal what was written.
            return pa.list_(pa.field("element", _arrow_type(schema["items"])))
        case "object":
            return pa.struct([pa.field(key, _arrow_type(inner)) for key, inner in schema["properties"].items()])
        case _ if schema.get("contentEncoding") == "binary":
            return pa.binary()
        case kind:
            return pa.type_for_alias(_SCALARS[kind])


def _feature(schema: Mapping[str, Any]) -> dict[str, Any]:
    if schema.get("x-feature") == "image":
        return {"dtype": "image"}
    match _kind(schema):
        case "array":
            items = _feature(schema["items"])
            return {"list": items["struct"]} if "struct" in items else {"sequence": items["dtype"]}
        case "object":
            return {"struct": [{"name": key, **_feature(inner)} for key, inner in schema["properties"].items()]}
        case kind:
            return {"dtype": _SCALARS[kind]}


def _sentence(error: ValidationError) -> str:
    path = ""
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    message = error.message if len(error.message) <= _MAX_MESSAGE else f"{error.message[:_MAX_MESSAGE]}…"
    return f"{path}: {message}" if path else message
