"""Validate: read everything that `assemble` wrote and report everything that is wrong with it."""

from __future__ import annotations

import itertools
import tomllib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from mis_dataset import __version__
from mis_dataset.assemble.card import data_metadata, read_metadata, render_card
from mis_dataset.assemble.chosen import Chosen
from mis_dataset.assemble.counts import count
from mis_dataset.assemble.croissant import render_croissant
from mis_dataset.assemble.folder import own_files
from mis_dataset.assemble.layout import CARD, CROISSANT, MANIFEST, RECIPE, data_stem
from mis_dataset.assemble.manifest import files_facts, read_manifest
from mis_dataset.assemble.parquet import FileSize, read_groups
from mis_dataset.assemble.readback import ReadBack, read_facts
from mis_dataset.errors import DatasetError
from mis_dataset.outline import outline
from mis_dataset.records import SUBSETS, Outline, Screened, side_of
from mis_dataset.schema import arrow_schema
from mis_dataset.validation.rows import Problem, RowChecker

__all__ = ["Problem", "validate", "validate_or_raise"]


def validate(directory: Path) -> list[Problem]:
    """Everything that is wrong with a dataset's directory; empty if nothing is.

    Streams: one row group is in memory at a time, and of each row only its outline and what is compared with others.
    """
    try:
        manifest = read_manifest(directory)
    except DatasetError as error:
        return [Problem(MANIFEST, problem) for problem in error.problems]
    sizes: dict[str, FileSize] = {}
    problems = list(_problems(directory, manifest, sizes))
    if all(problem.where in (CARD, CROISSANT, MANIFEST) for problem in problems):
        # Rows that are wrong would only make the card look wrong as well.
        problems += _texts(directory, manifest, list(sizes.values()))
    return problems


def validate_or_raise(directory: Path) -> None:
    """Raise if anything is wrong.

    Raises:
        DatasetError: lists every problem.
    """
    if problems := [str(problem) for problem in validate(directory)]:
        number = f"{len(problems)} problem{'s'[: len(problems) != 1]}"
        raise DatasetError(f"{directory} is not a valid dataset, it has {number}:", problems)


def _problems(directory: Path, manifest: Mapping[str, Any], sizes: dict[str, FileSize]) -> Iterator[Problem]:
    """All problems but those of the texts about the data; fills in the ``sizes`` of the Parquet files."""
    yield from _files(directory, manifest)
    checker = RowChecker(imported="imported" in manifest)
    unreadable = []
    # Provenance first: rows are compared with it as they pass.
    parquet = [path for path in manifest["files"] if path.endswith(".parquet") and (directory / path).is_file()]
    for path in sorted(parquet, key=lambda path: (not path.startswith("provenance/"), path)):
        try:
            sizes[path] = yield from _read(directory, path, checker)
        except (OSError, pa.ArrowException) as error:
            unreadable.append(path)
            yield Problem(path, f"cannot be read as Parquet: {error}")
    if unreadable:
        return  # what is missing from them would only drown what is known
    yield from checker.between_rows()
    yield from _card(directory, list(sizes.values()))
    yield from _manifest_numbers(manifest, checker, sizes)


def _files(directory: Path, manifest: Mapping[str, Any]) -> Iterator[Problem]:
    listed = manifest["files"]
    present = own_files(directory)
    for path in sorted(listed.keys() - present):
        yield Problem(path, "is missing")
    for path in sorted(present - listed.keys()):
        yield Problem(path, "is not in the manifest")
    for path, found in files_facts(directory, sorted(present & listed.keys())).items():
        if found != {key: listed[path][key] for key in ("sha256", "bytes")}:
            yield Problem(path, "is not as it was written: its size or SHA-256 differs from the manifest")


def _read(directory: Path, path: str, checker: RowChecker) -> Generator[Problem, None, FileSize]:
    """Check a file's rows; returns its size."""
    is_provenance = path.startswith("provenance/")
    schema = arrow_schema("provenance" if is_provenance else "row")
    subset = next((subset for subset in SUBSETS if path.startswith(f"{data_stem(subset)}-0")), "")
    num_rows = data_bytes = 0
    for group in read_groups(directory / path):
        num_rows, data_bytes = num_rows + group.num_rows, data_bytes + group.nbytes
        if not group.schema.equals(schema, check_metadata=True):
            yield Problem(path, f"its columns are not those of the schema: {group.schema.names}")
            break
        yield from checker.provenance(group) if is_provenance else checker.public_rows(group, subset)
    return FileSize(path, num_rows, data_bytes, (directory / path).stat().st_size)


def _card(directory: Path, sizes: list[FileSize]) -> Iterator[Problem]:
    try:
        metadata = read_metadata((directory / CARD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return  # reported as missing
    except ValueError as error:
        yield Problem(CARD, str(error))
        return
    for key, true in data_metadata(sizes).items():
        if metadata.get(key) != true:
            yield Problem(CARD, f"{key} in the YAML is not true to the data: {_difference(metadata.get(key), true)}")


def _texts(directory: Path, manifest: Mapping[str, Any], sizes: list[FileSize]) -> Iterator[Problem]:
    """Write card and Croissant anew from the files and compare; only the package that wrote them can."""
    if manifest["version"] != __version__:
        return
    rows, outlines = ReadBack(directory, manifest["files"]), list[Outline]()
    try:
        facts, counts = read_facts(directory, manifest), count(_outlined(rows, outlines))
        card = render_card(Chosen(outlines, rows), counts, facts, sizes)
        croissant = render_croissant(counts, facts, {size.path for size in sizes})
    except FileNotFoundError:
        return  # reported as missing
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        yield Problem(RECIPE, f"the card cannot be made from the recipe and the rows: {error!r}")
        return
    yield from (Problem(MANIFEST if facts.imported else RECIPE, mistake) for mistake in facts.card.mistakes())
    for path, true in ((CARD, card), (CROISSANT, croissant)):
        if path in manifest["files"] and (directory / path).is_file():  # else reported as missing
            # What is no text differs from every text, and has a line as well.
            found = (directory / path).read_text(encoding="utf-8", errors="surrogateescape")
            yield from _compared(path, found, true)


def _outlined(rows: Iterable[Screened], outlines: list[Outline]) -> Iterator[Screened]:
    """The rows as they are; ``outlines`` gets those of them that have passed."""
    for place, row in enumerate(rows):
        outlines.append(outline(row, place))
        yield row


def _compared(path: str, found: str, true: str) -> Iterator[Problem]:
    pairs = itertools.zip_longest(found.splitlines(), true.splitlines(), fillvalue="")
    for number, (line, other) in enumerate(pairs, 1):
        if line != other:
            yield Problem(path, f"line {number} is {line!r}, but should be {other!r}")
            return  # whatever follows may only have moved


def _difference(found: Any, true: Any, path: str = "") -> str:
    """The first place where two values of the YAML differ."""
    if isinstance(found, dict) and isinstance(true, dict) and found.keys() == true.keys():
        key = next(key for key in true if found[key] != true[key])
        return _difference(found[key], true[key], f"{path}.{key}")
    if isinstance(found, list) and isinstance(true, list) and len(found) == len(true):
        place = next(place for place in range(len(true)) if found[place] != true[place])
        return _difference(found[place], true[place], f"{path}[{place}]")
    return f"{path.lstrip('.') or 'it'} is {found!r}, but should be {true!r}"


def _manifest_numbers(
    manifest: Mapping[str, Any], checker: RowChecker, sizes: Mapping[str, FileSize]
) -> Iterator[Problem]:
    subsets = Counter(row.subset for row in checker.rows.values())
    sides = Counter(side_of(row.subset) for row in checker.rows.values())
    true = {
        "rows": {side: sides[side] for side in ("train", "test")},
        "subsets": {subset: subsets[subset] for subset in SUBSETS},
        "twins": sum(row.twin_id is not None for row in checker.rows.values()) // 2,
    }
    for key, value in true.items():
        if manifest[key] != value:
            yield Problem(MANIFEST, f"{key} is {manifest[key]}, but should be {value}")
    for path, size in sizes.items():
        listed = manifest["files"].get(path, {}).get("rows")
        if listed != size.rows:
            yield Problem(MANIFEST, f"{path} has {size.rows} row{'s'[: size.rows != 1]}, not {listed}")
