"""Finding formats: ``mis_dataset/formats/lmms_eval.py`` is the export format ``lmms-eval``."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mis_dataset.errors import UsageError
from mis_dataset.options import options_schema
from mis_dataset.schema import checker


@dataclass(frozen=True)
class Formats:
    """The formats of a package: each a dataclass whose fields are its options, in a file that bears its name."""

    kind: str
    """What a message calls them: ``export`` or ``import``."""
    package: str
    besides: tuple[str, ...] = ()
    """Other files of the package."""

    def available(self) -> list[str]:
        """The names of all formats."""
        names = (info.name for info in pkgutil.iter_modules(importlib.import_module(self.package).__path__))
        return sorted(name.replace("_", "-") for name in names if name[0] != "_" and name not in self.besides)

    def find(self, name: str) -> type:
        """The class of a format, which is called like its file.

        Raises:
            UsageError: there is no such format.
        """
        names = self.available()
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            guess = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"there is no {self.kind} format {name!r};{guess} there are {', '.join(names)}")
        module = importlib.import_module(f"{self.package}.{name.replace('-', '_')}")
        found: type = getattr(module, "".join(part.capitalize() for part in name.split("-")))
        return found

    def make(self, name: str, options: Mapping[str, Any]) -> Any:
        """A format with its options.

        Raises:
            UsageError: there is no such format, or it has no such option.
        """
        format_ = self.find(name)
        schema = options_schema(format_)
        known = schema["properties"]
        if strange := [key for key in options if key not in known]:
            raise UsageError(f"there is no option {', '.join(strange)}; {name} has {', '.join(known) or 'none'}")
        if problems := checker(schema)(dict(options)):
            raise UsageError(f"options of {name}: {'; '.join(problems)}")
        return format_(**options)
