"""Reading a dataset's directory back into the records and facts from which it was assembled, images aside."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mis_dataset.agreement import Agreement
from mis_dataset.assemble.facts import BuildFacts, Imported, Quota
from mis_dataset.assemble.layout import RECIPE, data_stem, matching
from mis_dataset.budget import Cost
from mis_dataset.decontaminate import Contamination
from mis_dataset.funnel import Checks, FunnelStep
from mis_dataset.recipe import CardSpec
from mis_dataset.records import SUBSETS, ImageSpec, Label, Origin, Picture, Scenario, Screened, Verdict
from mis_dataset.run.arrow import from_row
from mis_dataset.schema import arrow_schema


class ReadBack:
    """The rows of a dataset in the order of the subsets, read again whenever they are wanted.

    What a dataset does not tell (the composer's outline) stays empty. One row group is in memory at a time.

    Args:
        directory: the dataset's.
        files: the paths of its files.
    """

    def __init__(self, directory: Path, files: Iterable[str]) -> None:
        self._directory = directory
        self._rows = [path for subset in SUBSETS for path in matching(files, f"{data_stem(subset)}-0*")]
        self._made = [path for side in ("train", "test") for path in matching(files, f"provenance/{side}-*")]

    def __iter__(self) -> Iterator[Screened]:
        """Every row.

        Raises:
            KeyError: the provenance is of other rows, or in another order.
        """
        return self._since(0)

    def __getitem__(self, place: int, /) -> Screened:
        """The row at a place; reads only the row group in which it lies."""
        return next(self._since(place))

    def _since(self, place: int) -> Iterator[Screened]:
        columns = [name for name in arrow_schema("row").names if name not in ("images", "messages")]
        entries = self._entries(self._rows, place, columns), self._entries(self._made, place)
        for row, made in itertools.zip_longest(*entries, fillvalue={"id": None}):
            if row["id"] != made["id"]:
                raise KeyError(f"{row['id'] or made['id']}: its provenance is not in the same place")
            yield _screened(row, made)

    def _entries(self, paths: Sequence[str], place: int, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """What the files hold, from a place on."""
        for path in paths:
            with pq.ParquetFile(self._directory / path) as file:
                for group in range(file.num_row_groups):
                    rows = file.metadata.row_group(group).num_rows
                    if place < rows:
                        yield from file.read_row_group(group, columns).to_pylist()[place:]
                    place = max(place - rows, 0)


def read_facts(directory: Path, manifest: Mapping[str, Any]) -> BuildFacts:
    """What the manifest and the recipe tell of the build, or the manifest alone of what was imported."""
    imported = manifest.get("imported")
    text = "" if imported else (directory / RECIPE).read_text(encoding="utf-8")
    written = imported["card"] if imported else tomllib.loads(text).get("card", {})
    card: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in written.items()}
    return BuildFacts(
        name=manifest["name"],
        recipe_text=text,
        fingerprint=manifest["fingerprint"],
        stages=manifest["stages"],
        funnel=tuple(FunnelStep(**step) for step in manifest["funnel"]),
        quotas=tuple(Quota(**quota) for quota in manifest["quotas"]),
        rounds=manifest["rounds"],
        spent=tuple(Cost(**cost) for cost in manifest["spent"]),
        agreement=tuple(Agreement(**agreement) for agreement in manifest["agreement"]),
        decontamination=tuple(Contamination(**found) for found in manifest["decontamination"]),
        checks=Checks(**manifest["checks"]) if manifest["checks"] else None,
        card=CardSpec(**card),
        imported=Imported(imported["format"], imported["source"]) if imported else None,
    )


def _screened(row: Mapping[str, Any], made: Mapping[str, Any]) -> Screened:
    scenario = Scenario(
        id=row["id"],
        family="",
        twin_id=row["twin_id"],
        category=row["category"] or "",
        sub_category=row["sub_category"] or "",
        subset=row["subset"],
        intent=row["intent"],
        relation=row["relation"] or "",
        question=row["question"],
        images=tuple(
            ImageSpec(image["object"] or "", image["prompt"], bool(image["harmful"])) for image in made["images"]
        ),
        rationale="",
        reply="",
        origin=from_row(Origin, made["origin"]),
        pair_id=made["pair_id"],
    )
    teacher = made["teacher"]
    label = Label(
        perception=tuple(row["perception"]),
        reasoning=row["reasoning"] or "",
        answer=row["answer"] or "",
        teacher=teacher["model"],
        revision=teacher["revision"],
        raw=teacher["raw"],
        prompt_tokens=teacher["prompt_tokens"],
        completion_tokens=teacher["completion_tokens"],
        critiques=tuple(teacher["critiques"]),
    )
    pictures = tuple(from_row(Picture, {**image, "path": ""}) for image in made["images"])
    return Screened(scenario, pictures, label, from_row(tuple[Verdict, ...], made["verdicts"]))
