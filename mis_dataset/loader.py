"""The loading script: after ``import mis_dataset``, `datasets` knows a dataset called ``mis``.

    load_dataset("mis")                             ./mis if it was built here, else the embedded preview
    load_dataset("mis", data_dir="build/mis")       a dataset built elsewhere
    load_dataset("mis", "hard", streaming=True)     one config, without a copy in the cache

Whichever directory it is, it is then read as `datasets` reads any directory of Parquet files with a card, so all
that works there works here, and the same rows come without this package by ``load_dataset("path/to/mis")``.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import config, load
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES
from filelock import FileLock

from mis_dataset import __version__
from mis_dataset.assemble.layout import MANIFEST
from mis_dataset.assemble.manifest import peek_manifest, read_manifest
from mis_dataset.options import content_digest
from mis_dataset.resources import resource
from mis_dataset.seeds import stable_digest

NAME = "mis"

_logger = logging.getLogger(__name__)


def find_dataset(data_dir: str | None = None) -> Path:
    """The directory that ``load_dataset("mis", data_dir=data_dir)`` reads.

    Raises:
        DatasetError: ``data_dir`` is given and is not a dataset.
    """
    if data_dir is not None:
        directory = Path(data_dir).expanduser().resolve()
        read_manifest(directory)
        return directory
    built_here = Path(NAME).resolve()
    return built_here if peek_manifest(built_here) else _preview()


def _preview() -> Path:
    """The embedded preview; built on first use, and kept in the cache of `datasets`."""
    made_from = (
        resource("builder_scripts", "preview.toml"),
        resource("dataset_card"),
        Path(__file__).with_name("data"),
    )
    key = stable_digest(__version__, *map(content_digest, made_from))[:16]
    target = Path(config.HF_DATASETS_CACHE) / "mis-preview" / key / NAME
    _logger.warning("There is no built dataset in ./%s: using the small embedded preview in %s.", NAME, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not peek_manifest(target):
            _logger.warning("Building it first, once; this takes some ten seconds.")
            from mis_dataset.pipeline import build_preview

            with TemporaryDirectory(dir=target.parent) as scratch:
                build_preview(Path(scratch, NAME)).rename(target)
    return target


class _ModuleFactory(load.PackagedDatasetModuleFactory):  # type: ignore[misc]
    """Stands in for the factory of built-in datasets such as ``csv``, and passes on all of them but ``mis``.

    The stock factory takes whatever files lie in the current folder for the data, fails if there are none, and
    reports each use to the Hub; there is no other place at which a dataset can bring its own directory.
    """

    def __init__(self, name: str, **options: Any) -> None:
        if name == NAME:
            self.name, self.options = name, options
        else:
            super().__init__(name, **options)

    def get_module(self) -> load.DatasetModule:
        if self.name != NAME:
            return super().get_module()
        directory = find_dataset(self.options.get("data_dir"))
        module = load.LocalDatasetModuleFactory(str(directory), data_files=self.options.get("data_files")).get_module()
        return replace(
            module,
            # The manifest has the digest of every file: a rebuilt dataset is not served from an old cache.
            hash=hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest(),
            # Paths are relative to base_path, which is the directory already.
            builder_kwargs={**module.builder_kwargs, "dataset_name": NAME, "data_dir": None},
        )


load.PackagedDatasetModuleFactory = _ModuleFactory
_PACKAGED_DATASETS_MODULES[NAME] = _PACKAGED_DATASETS_MODULES["parquet"]
