"""Records as Arrow: a schema from a dataclass's type hints, and rows there and back."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from sys import intern
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa

_SCALARS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def arrow_type(hint: Any) -> pa.DataType:
    """The Arrow type of a type hint: a scalar, a literal, an optional, a tuple of one type, or a dataclass."""
    if hint in _SCALARS:
        return _SCALARS[hint]
    if is_dataclass(hint) and isinstance(hint, type):
        return pa.struct([pa.field(name, arrow_type(inner)) for name, inner in _hints(hint).items()])
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return pa.string()
    if origin is tuple:
        return pa.list_(arrow_type(args[0]))
    if origin in (typing.Union, types.UnionType):
        return arrow_type(_only(args))
    raise TypeError(f"a record cannot hold {hint!r}")


def from_row(hint: Any, value: Any) -> Any:
    """Rebuild a value of type ``hint`` from what ``to_pylist`` gives."""
    if value is None:
        return None
    if is_dataclass(hint) and isinstance(hint, type):
        return hint(**{name: from_row(inner, value[name]) for name, inner in _hints(hint).items()})
    origin, args = get_origin(hint), get_args(hint)
    if origin is tuple:
        return tuple(from_row(args[0], item) for item in value)
    if origin is Literal:
        return intern(value)  # one object for all that are equal
    if origin in (typing.Union, types.UnionType):
        return from_row(_only(args), value)
    return value


@cache
def _hints(record: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(record)
    return {item.name: hints[item.name] for item in fields(record)}


def _only(args: tuple[Any, ...]) -> Any:
    return next(arg for arg in args if arg is not type(None))
