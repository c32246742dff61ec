"""Generate, check, publish and load multi-image safety data for vision-language models.

Importing this package makes ``datasets.load_dataset("mis")`` work; `mis_dataset.loader` says how. The functions
`build`, `load`, `validate`, `export` and `push` come from `mis_dataset.api`, which is imported when first used.
"""

from __future__ import annotations

import importlib
import typing

__version__ = "0.1.0"

# After the version, which it needs. Imported for what it does: it tells `datasets` of "mis".
from mis_dataset import loader  # noqa: F401
from mis_dataset.errors import MisError

__all__ = ["MisError", "__version__", "build", "export", "load", "push", "validate"]

if typing.TYPE_CHECKING:
    from mis_dataset.api import build, export, load, push, validate
else:
    # Type checkers must not see this: to them, it would be a promise of every name.
    def __getattr__(name: str) -> typing.Any:
        """The functions of the Python interface, and with them most of the package."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module("mis_dataset.api"), name)


def __dir__() -> list[str]:
    return __all__
