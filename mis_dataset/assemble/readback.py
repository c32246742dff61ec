"""Reading a dataset's directory back into the records and facts from which it was assembled, images aside."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mis_dataset.agreement import Agreement
from mis_dataset.assemble.facts import BuildFacts, Imported, Quota
from mis_dataset.assemble.layout import RECIPE, data_stem
from mis_dataset.budget import Cost
from mis_dataset.decontaminate import Contamination
from mis_dataset.funnel import Checks, FunnelStep
from mis_dataset.recipe import CardSpec
from mis_dataset.records import SUBSETS, ImageSpec, Label, Origin, Picture, Scenario, Screened, Verdict
from mis_dataset.run.arrow import from_row
from mis_dataset.schema import arrow_schema


def read_rows(directory: Path, files: Mapping[str, Any]) -> list[Screened]:
    """All rows in the order of the subsets; what a dataset does not tell (the composer's outline) stays empty.

    Args:
        directory: the dataset's.
        files: the manifest's ``files``.

    Raises:
        KeyError: a row has no provenance.
    """
    provenance = {
        row["id"]: row
        for path in sorted(files)
        if path.startswith("provenance/")
        for row in pq.read_table(directory / path).to_pylist()
    }
    columns = [name for name in arrow_schema("row").names if name not in ("images", "messages")]
    return [
        _screened(row, provenance[row["id"]])
        for subset in SUBSETS
        for path in sorted(files)
        if path.startswith(f"{data_stem(subset)}-0")
        for row in pq.read_table(directory / path, columns=columns).to_pylist()
    ]


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
