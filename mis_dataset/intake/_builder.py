"""The builder behind ``load_dataset("mis")``: Parquet files, or the official MIS data as ``paper``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import DatasetInfo, Features, SplitGenerator
from datasets.builder import Key
from datasets.data_files import DataFilesPatternsDict
from datasets.packaged_modules.parquet.parquet import Parquet, ParquetConfig

from mis_dataset.assemble.columns import row
from mis_dataset.errors import DatasetError
from mis_dataset.intake._official import Official
from mis_dataset.intake._rows import Taken
from mis_dataset.records import side_of
from mis_dataset.schema import arrow_schema, yaml_features

PAPER = "paper"
_SHARD_ROWS = 32


@dataclass
class PaperConfig(ParquetConfig):  # type: ignore[misc]
    """The official MIS data with our columns."""

    copy: str | None = None
    """The folder with a local copy; None: the repositories on the Hub."""

    def __post_init__(self) -> None:
        self.name = PAPER
        # None would mean that the files are still to be named.
        self.data_files = DataFilesPatternsDict()
        super().__post_init__()

    def _resolve_data_files(self, base_path: str, download_config: Any) -> None:
        """There are none: the rows are not in Parquet files."""


class Mis(Parquet):  # type: ignore[misc]
    """Parquet files, but for the config `PAPER`."""

    def _create_builder_config(self, *args: Any, **options: Any) -> tuple[ParquetConfig, str]:
        chosen, config_id = super()._create_builder_config(*args, **options)
        if isinstance(chosen, PaperConfig):
            self._official = Official(Path(chosen.copy) if chosen.copy else None, self.token)
            # Names the folder in the cache: files that changed are not served from an old one.
            self.hash = self._official.version()
        return chosen, config_id

    def _info(self) -> DatasetInfo:
        if isinstance(self.config, PaperConfig):
            return DatasetInfo(features=Features._from_yaml_list(yaml_features("row")))
        return super()._info()

    def _split_generators(self, dl_manager: Any) -> list[SplitGenerator]:
        if not isinstance(self.config, PaperConfig):
            splits: list[SplitGenerator] = super()._split_generators(dl_manager)
            return splits
        if self.config.columns is not None:
            self.info.features = Features({name: self.info.features[name] for name in self.config.columns})
        rows = self._official.read()
        sides = {side: [taken for taken in rows if side_of(taken.record.scenario.subset) == side] for side in _SIDES}
        return [
            SplitGenerator(name=side, gen_kwargs={"shards": _shards(members)})
            for side, members in sides.items()
            if members
        ]

    def _generate_shards(self, **files: Any) -> Iterator[Any]:
        if "shards" not in files:
            yield from super()._generate_shards(**files)
        else:
            yield from (f"{PAPER}-{number}" for number in range(len(files["shards"])))

    def _generate_more_gen_kwargs(self, **files: Any) -> Iterator[dict[str, Any]]:
        if "shards" not in files:
            yield from super()._generate_more_gen_kwargs(**files)
        else:
            yield from ({"shards": [shard]} for shard in files["shards"])

    def _generate_tables(self, **files: Any) -> Iterator[tuple[Key, pa.Table]]:
        if "shards" not in files:
            yield from super()._generate_tables(**files)
            return
        for number, shard in enumerate(files["shards"]):
            table = _table(shard)
            if self.config.filters is not None:
                table = table.filter(pq.filters_to_expression(self.config.filters))
            yield Key(number, 0), self._cast_table(table.select(list(self.info.features)))


_SIDES = ("train", "test")


def _shards(rows: Sequence[Taken]) -> list[tuple[Taken, ...]]:
    """Rows that are read together; their images are in memory at once."""
    return [tuple(rows[start : start + _SHARD_ROWS]) for start in range(0, len(rows), _SHARD_ROWS)]


def _table(rows: Sequence[Taken]) -> pa.Table:
    return pa.Table.from_pylist([_row(taken) for taken in rows], arrow_schema("row"))


def _row(taken: Taken) -> dict[str, Any]:
    try:
        return row(taken.record, taken.read())
    except OSError as error:
        remedy = "it was there before; do not change the files while they are read"
        raise DatasetError("the official MIS data cannot be read:", [f"{taken.where}: {error}; {remedy}"]) from error
