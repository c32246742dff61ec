"""The files of a dataset's directory, and which of them make up which config."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from mis_dataset.records import side_of

CARD = "README.md"
CROISSANT = "croissant.json"
RECIPE = "recipe.toml"
MANIFEST = "manifest.json"
CHANGELOG = "CHANGELOG.md"
"""Written on the Hub alone: there, a push tells what each version changed."""
COMPOSITION = "assets/composition.png"
PREVIEW = "assets/preview.png"

CONFIGS = {
    "default": {"train": "data/train-*", "test": "data/test-*"},
    "easy": {"test": "data/test-easy-*"},
    "hard": {"test": "data/test-hard-*"},
    "real": {"test": "data/test-real-*"},
    "provenance": {"train": "provenance/train-*", "test": "provenance/test-*"},
}
"""For every config, the pattern of each split's files."""


def is_foreign(path: str) -> bool:
    """Whether what lies in a dataset's directory is none of the dataset's, but came with it or was put beside it.

    What is hidden is git's, or the notes of clients that fetched the dataset from the Hub; the changelog is the Hub's.
    """
    return path.startswith(".") or path == CHANGELOG


def data_stem(subset: str) -> str:
    """Where the rows of a subset lie: the beginning of their files' paths."""
    side = side_of(subset)
    return f"data/{side}" if side == subset else f"data/{side}-{subset}"


def schema_of(config: str) -> str:
    """The name of the schema that a config's rows follow."""
    return "provenance" if config == "provenance" else "row"


def matching(paths: Iterable[str], pattern: str) -> list[str]:
    """The paths that a pattern of `CONFIGS` names, sorted."""
    return sorted(path for path in paths if fnmatchcase(path, pattern))


def present_configs(paths: Collection[str]) -> dict[str, dict[str, str]]:
    """The part of `CONFIGS` for which there are files; a config without rows is left out, not empty."""
    configs = {
        config: {split: pattern for split, pattern in splits.items() if matching(paths, pattern)}
        for config, splits in CONFIGS.items()
    }
    return {config: splits for config, splits in configs.items() if splits}
