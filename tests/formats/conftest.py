"""A dataset to export, datasets that differ from it in some rows, and what comes of exporting it."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from official_files import OfficialFiles
from samples import sample_dataset

from mis_dataset.formats import export
from mis_dataset.formats.source import Source
from mis_dataset.intake import import_dataset

Row = dict[str, Any]
Rows = list[Row]


@pytest.fixture(scope="package")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Harmful rows and twins of train, easy and hard, with 2 to 4 images."""
    return sample_dataset(tmp_path_factory.mktemp("dataset"), 18)


@pytest.fixture(scope="package")
def rows(dataset: Path) -> Rows:
    """All of its rows, in its order."""
    return list(Source.open(dataset).rows(intent="all"))


@pytest.fixture(scope="package")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rows of others in each subset; categories and relations are not known, nor what test rows should answer."""
    folder = tmp_path_factory.mktemp("imported")
    official = OfficialFiles(folder / "MIS").write()
    for file in official.root.glob("*.json"):
        official.edit(file.name, lambda rows: [{**row, "category": None, "sub_category": None} for row in rows])
    import_dataset("legacy", official.root, folder / "mis")
    return folder / "mis"


@pytest.fixture
def changed(dataset: Path, tmp_path: Path) -> Callable[[Callable[[Row], Iterable[Row]]], Path]:
    """Makes a dataset in which each row stands for what a function makes of it: none, one or several."""

    def change(function: Callable[[Row], Iterable[Row]]) -> Path:
        copy = tmp_path / "changed"
        shutil.copytree(dataset, copy)
        for path in sorted((copy / "data").iterdir()):
            table = pq.read_table(path)
            new = [made for row in table.to_pylist() for made in function(row)]
            pq.write_table(pa.Table.from_pylist(new, table.schema), path)
        return copy

    return change


@pytest.fixture
def exported(dataset: Path, tmp_path: Path) -> Callable[..., Path]:
    """Exports the dataset in a format, with options; returns the folder."""

    def run(format_: str, directory: Path = dataset, **options: Any) -> Path:
        out = tmp_path / f"{format_}-{len(list(tmp_path.iterdir()))}"
        export(directory, format_, out, options)
        return out

    return run
