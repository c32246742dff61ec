"""The loading script: after ``import mis_dataset``, `datasets` knows a dataset called ``mis``.

    load_dataset("mis")                             ./mis if it was built here, else the embedded preview
    load_dataset("mis", data_dir="build/mis")       a dataset built elsewhere
    load_dataset("mis", "hard", streaming=True)     one config, without a copy in the cache
    load_dataset("mis", "paper")                    the official MIS data, from the Hub
    load_dataset("mis", "paper", data_dir="MIS")    the same, from a local copy

Whichever directory it is, it is then read as `datasets` reads any directory of Parquet files with a card, so all
that works there works here, and the same rows come without this package by ``load_dataset("path/to/mis")``. The
official data has the same columns; what it does not tell is null, or an empty list.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import DatasetInfo, Features, config, load
from datasets.data_files import DataFilesPatternsDict
from datasets.info import DatasetInfosDict
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES
from datasets.packaged_modules.parquet.parquet import ParquetConfig
from filelock import FileLock

from mis_dataset import __version__
from mis_dataset.assemble.layout import CONFIGS, MANIFEST, schema_of
from mis_dataset.assemble.manifest import peek_manifest, read_manifest
from mis_dataset.errors import DatasetError, LaterFormatError
from mis_dataset.intake import _builder
from mis_dataset.intake._official import official_copy
from mis_dataset.intake.legacy import Legacy
from mis_dataset.options import content_digest
from mis_dataset.resources import resource
from mis_dataset.schema import yaml_features
from mis_dataset.seeds import stable_digest

NAME = "mis"

_logger = logging.getLogger(__name__)


def find_dataset(data_dir: str | None = None) -> Path:
    """The directory that ``load_dataset("mis", data_dir=data_dir)`` reads.

    Raises:
        DatasetError: ``data_dir`` is given and is not a dataset, or the manifest of what was built here is damaged.
        LaterFormatError: a later version of this package built it.
    """
    return _built(data_dir) or _preview()


def _built(data_dir: str | None) -> Path | None:
    """The dataset that is named, or the one that was built here; None if there is none here."""
    directory = Path(NAME if data_dir is None else data_dir).expanduser().resolve()
    if data_dir is None and not peek_manifest(directory):
        return None
    read_manifest(directory)
    return directory


@dataclass
class _PreviewConfig(ParquetConfig):  # type: ignore[misc]
    """A config of the embedded preview, which is built on first use and kept in the cache of `datasets`."""

    def _resolve_data_files(self, base_path: str, download_config: Any) -> None:  # noqa: ARG002
        # Called once this config is chosen: who asks for the official data, or for names only, waits for nothing.
        super()._resolve_data_files(str(_preview()), download_config)


def _preview() -> Path:
    target = Path(config.HF_DATASETS_CACHE) / "mis-preview" / _preview_key()[:16] / NAME
    _logger.warning("There is no built dataset in ./%s: using the small embedded preview in %s.", NAME, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not peek_manifest(target):
            _logger.warning("Building it first, once; this takes some ten seconds.")
            from mis_dataset.pipeline import build_preview

            with TemporaryDirectory(dir=target.parent) as scratch:
                build_preview(Path(scratch, NAME)).rename(target)
    return target


def _preview_key() -> str:
    """Identifies the preview by all that it is made from."""
    made_from = (
        resource("builder_scripts", "preview.toml"),
        resource("dataset_card"),
        Path(__file__).with_name("data"),
    )
    return stable_digest(__version__, *map(content_digest, made_from))


def _preview_module() -> load.DatasetModule:
    present = {name: splits for name, splits in CONFIGS.items() if name != "real"}  # it has no photographs
    patterns = {
        name: DataFilesPatternsDict.from_patterns({split: [pattern] for split, pattern in splits.items()})
        for name, splits in present.items()
    }
    features = {name: Features._from_yaml_list(yaml_features(schema_of(name))) for name in present}
    return load.DatasetModule(
        _builder.__name__,
        _preview_key(),
        {"dataset_name": NAME},
        dataset_infos=DatasetInfosDict({name: DatasetInfo(features=found) for name, found in features.items()}),
        builder_configs_parameters=load.BuilderConfigsParameters(
            builder_configs=[_PreviewConfig(name=name, data_files=found) for name, found in patterns.items()],
            default_config_name="default",
        ),
    )


def _module_of(directory: Path, data_files: Any) -> load.DatasetModule:
    """A dataset's directory as `datasets` sees it."""
    module = load.LocalDatasetModuleFactory(str(directory), data_files=data_files).get_module()
    return replace(
        module,
        module_path=_builder.__name__,
        # The manifest has the digest of every file: a rebuilt dataset is not served from an old cache.
        hash=hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest(),
        # Paths are relative to base_path, which is the directory already.
        builder_kwargs={**module.builder_kwargs, "dataset_name": NAME, "data_dir": None},
    )


def _paper_module(copy: Path) -> load.DatasetModule:
    """A folder that holds the official data, and nothing else."""
    parameters = load.BuilderConfigsParameters(builder_configs=[_builder.PaperConfig(copy=str(copy))])
    kwargs = {"dataset_name": NAME, "data_dir": None}
    return load.DatasetModule(_builder.__name__, _builder.PAPER, kwargs, builder_configs_parameters=parameters)


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
        data_dir = self.options.get("data_dir")
        if data_dir and (copy := official_copy(Path(data_dir).expanduser().resolve())):
            return _paper_module(copy)
        try:
            directory = _built(data_dir)
        except DatasetError as error:
            if data_dir is None or isinstance(error, LaterFormatError):
                raise
            neither = f"nor does it hold the official MIS data, which the config 'paper' reads: {Legacy.remedy}"
            raise DatasetError(f"{data_dir} is not a dataset:", [*error.problems, neither]) from error
        module = _module_of(directory, self.options.get("data_files")) if directory else _preview_module()
        configs = module.builder_configs_parameters
        paper = _builder.PaperConfig(copy=data_dir and str(directory))
        return replace(
            module,
            builder_configs_parameters=replace(configs, builder_configs=[*configs.builder_configs, paper]),
        )


load.PackagedDatasetModuleFactory = _ModuleFactory
_PACKAGED_DATASETS_MODULES[NAME] = _PACKAGED_DATASETS_MODULES["parquet"]
