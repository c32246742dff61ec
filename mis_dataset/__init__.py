"""Generate, check, publish and load multi-image safety data for vision-language models.

Importing this package makes ``datasets.load_dataset("mis")`` work; `mis_dataset.loader` says how.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["__version__"]

__version__ = "0.1.0"


class _RegisterAfterImport:
    """Waits for somebody to import `datasets`, then registers the loader.

    Importing it here would be simpler, and would make every ``mis --help`` wait half a second longer.
    """

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find `datasets` as the other finders do, and have the loader registered once it has run."""
        if name != "datasets":
            return None
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not cls)
        spec = next(filter(None, found), None)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            run(module)
            importlib.import_module("mis_dataset.loader")

        spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec


if "datasets" in sys.modules:
    importlib.import_module("mis_dataset.loader")
else:
    sys.meta_path.insert(0, _RegisterAfterImport)
