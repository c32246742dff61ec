"""Finding backends: by the name of their file, or by a dotted path such as ``my_lab.render:MyRenderer``.

A backend is a dataclass with one public method, named after its stage. There is no registry: a file
``mis_dataset/render/pictogram.py`` is the backend ``pictogram`` of the stage ``render``.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from mis_dataset.errors import BackendError

BACKEND_STAGES = ("compose", "render", "check", "teach", "screen")


def available(stage: str) -> list[str]:
    """The names of a stage's shipped backends."""
    package = importlib.import_module(f"mis_dataset.{stage}")
    return sorted(info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_"))


def find_backend(stage: str, name: str) -> type:
    """The class of a backend.

    Args:
        stage: one of `BACKEND_STAGES`.
        name: a shipped backend's name, or ``module:Class``.

    Raises:
        BackendError: nothing of that name, or it is not a backend of this stage.
    """
    if ":" in name:
        return _from_path(stage, name)
    names = available(stage)
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        raise BackendError(
            f"{stage}.backend: there is no backend {name!r};{guess} shipped are {', '.join(names)}; "
            "your own is named by a dotted path, such as 'my_lab.backends:MyBackend'"
        )
    module = importlib.import_module(f"mis_dataset.{stage}.{name}")
    classes = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and item.__module__ == module.__name__ and is_dataclass(item) and stage in vars(item)
    ]
    if len(classes) != 1:
        raise BackendError(f"mis_dataset/{stage}/{name}.py must hold exactly one dataclass with a method {stage!r}")
    return classes[0]


def make_backend(stage: str, name: str, options: Mapping[str, Any]) -> Any:
    """Build a backend from a recipe's checked options; its constructor is cheap and checks what it can.

    Raises:
        BackendError: nothing of that name, or it needs an extra that is not installed. A backend names what it imports
            as ``imports`` and the extra that brings it as ``extra``, so that this shows before any work.
    """
    backend: Any = find_backend(stage, name)
    for module in getattr(backend, "imports", ()):
        if not _is_installed(module):
            raise _missing(module, backend.extra)
    return backend(**options)


def missing_environment(backend: Any) -> list[str]:
    """The environment variables that a backend names as ``environment`` (such as its key) and that are not set."""
    return [variable for variable in getattr(backend, "environment", ()) if not os.environ.get(variable, "").strip()]


def require(module: str, extra: str) -> Any:
    """Import a heavy module, or say which extra brings it.

    Raises:
        BackendError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, extra) from error


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _missing(module: str, extra: str) -> BackendError:
    return BackendError(f"{module!r} is not installed; install it with: pip install 'mis-dataset[{extra}]'")


def _from_path(stage: str, name: str) -> type:
    module_name, _, attribute = name.partition(":")
    if not re.fullmatch(r"[\w.]+:\w+", name):
        raise BackendError(f"{stage}.backend: {name!r} is not a dotted path of the form 'package.module:Class'")
    try:
        backend = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, SyntaxError) as error:
        raise BackendError(f"{stage}.backend: cannot import {module_name!r}: {error}; is it on PYTHONPATH?") from error
    except AttributeError as error:
        raise BackendError(f"{stage}.backend: {module_name!r} has no class {attribute!r}") from error
    if not (isinstance(backend, type) and is_dataclass(backend) and callable(getattr(backend, stage, None))):
        raise BackendError(f"{stage}.backend: {name!r} is not a dataclass with a method {stage!r}")
    return backend
