"""Finding formats: ``mis_dataset/formats/lmms_eval.py`` is the format ``lmms-eval``."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mis_dataset.errors import UsageError
from mis_dataset.options import options_schema
from mis_dataset.schema import checker

_NO_FORMATS = {"source"}


def available() -> list[str]:
    """The names of all formats."""
    names = (info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_") and name not in _NO_FORMATS)


def find_format(name: str) -> type:
    """The class of a format; its module's only one that is called like the module.

    Raises:
        UsageError: there is no such format.
    """
    names = available()
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"there is no export format {name!r};{guess} there are {', '.join(names)}")
    module = importlib.import_module(f"mis_dataset.formats.{name.replace('-', '_')}")
    found: type = getattr(module, "".join(part.capitalize() for part in name.split("-")))
    return found


def make_format(name: str, options: Mapping[str, Any]) -> Any:
    """A format with its options.

    Raises:
        UsageError: there is no such format, or it has no such option.
    """
    format_ = find_format(name)
    schema = options_schema(format_)
    if problems := checker(schema)(dict(options)):
        known = ", ".join(schema["properties"]) or "none"
        raise UsageError(f"options of {name}: {'; '.join(problems)} (its options: {known})")
    return format_(**options)
