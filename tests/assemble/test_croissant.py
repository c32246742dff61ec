"""Croissant metadata, read by the library of those who made the format."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow.parquet as pq
import pytest
import yaml
from samples import sample_dataset, sample_facts, sample_rows

from mis_dataset import __version__
from mis_dataset.agreement import Agreement
from mis_dataset.assemble import Imported, assemble
from mis_dataset.assemble.croissant import DATED
from mis_dataset.decontaminate import Contamination
from mis_dataset.records import Screened
from mis_dataset.validation import validate

# `mlcroissant` uses what `rdflib` and `pandas` are going to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index is deprecated"),
]

ROOT = Path(__file__).parents[2]
IMPORTED = {
    "stages": {},
    "recipe_text": "",
    "rounds": 0,
    "quotas": (),
    "imported": Imported("llava", "theirs.json"),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Screened], Path]:
    folder = tmp_path_factory.mktemp("store")
    return sample_rows(folder, 12), folder


@pytest.fixture(scope="module")
def mis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_dataset(tmp_path_factory.mktemp("built"), 12)


def _told(rows: tuple[list[Screened], Path], out: Path, **facts: Any) -> dict[str, Any]:
    records, images = rows
    assemble(records, replace(sample_facts(records), **facts), images, out)
    metadata: dict[str, Any] = json.loads((out / "croissant.json").read_text(encoding="utf-8"))
    return metadata


def _issues(path: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the library finds wrong, warnings included."""
    with caplog.at_level(logging.WARNING):
        found = mlcroissant.Dataset(str(path)).metadata.ctx.issues
    return [*found.errors, *found.warnings, *(record.getMessage() for record in caplog.records)]


def test_its_makers_find_nothing_wrong(mis: Path, caplog: pytest.LogCaptureFixture):
    assert _issues(mis / "croissant.json", caplog) == []


def test_its_makers_find_nothing_wrong_with_what_was_imported(rows, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    told = _told(rows, tmp_path / "mis", **IMPORTED)
    assert _issues(tmp_path / "mis" / "croissant.json", caplog) == []
    assert "theirs.json" in told["rai:dataCollection"]
    assert "rai:machineAnnotationTools" not in told  # nobody knows


# Each name is one that the vocabulary has: the library has a field for it, filled with what we wrote.
def test_the_vocabulary_of_responsible_ai_is_understood(mis: Path):
    told = mlcroissant.Dataset(str(mis / "croissant.json")).metadata
    assert told.data_collection.startswith("Nothing was collected from people.")
    assert told.data_collection_type == ["Software Collection"]
    assert "provenance" in told.data_collection_raw_data
    assert told.data_collection_missing_data
    assert "render: 25 accepted, 2 rejected, 0 failed; blank 2" in told.data_preprocessing_protocol
    assert told.data_annotation_protocol
    assert told.annotations_per_item.startswith("No human labels.")
    assert told.machine_annotation_tools == ["template (1), writes labels", "rules, judges rows"]
    assert any("fine-tuning" in use.lower() for use in told.data_use_cases)
    assert any("6 train, 8 easy, 8 hard" in bias for bias in told.data_biases)
    assert any("No person has read every row." in limit for limit in told.data_limitations)
    assert told.data_social_impact
    assert told.personal_sensitive_information
    assert told.data_release_maintenance_plan


def test_every_property_of_responsible_ai_is_one_of_the_vocabulary(rows, tmp_path: Path):
    facts = {
        "agreement": (Agreement("question", 2, 5, 5, 0.8, 0.6, None),),
        "decontamination": (Contamination("bench", "0" * 64, 3, 4, 1, 2),),
    }
    told = _told(rows, tmp_path / "mis", **facts)
    constants = vars(mlcroissant._src.core.constants)
    known = {str(value).rpartition("/")[2] for name, value in constants.items() if name.startswith("ML_COMMONS_RAI_")}
    named = {name.removeprefix("rai:") for name in told if name.startswith("rai:")}
    assert named <= known
    assert "dataAnnotationAnalysis" in named
    assert any("benchmark bench" in step for step in told["rai:dataPreprocessingProtocol"])


def test_the_rows_can_be_read_by_it(mis: Path):
    table = pq.read_table(mis / "data" / "test-hard-00000-of-00001.parquet").to_pylist()
    records = list(mlcroissant.Dataset(str(mis / "croissant.json")).records("hard"))
    assert len(records) == len(table)
    for record, row in zip(records, table, strict=True):
        assert {record[f"hard/{key}"].decode() for key in ("id", "question", "response")} == {
            row["id"],
            row["question"],
            row["response"],
        }
        assert record["hard/split"] == b"test"
        assert [text.decode() for text in record["hard/objects"]] == row["objects"]
        assert [image.size for image in record["hard/images"]] == [(48, 48)] * len(row["images"])
        assert (record["hard/twin_id"] or b"").decode() == (row["twin_id"] or "")


def test_the_provenance_can_be_read_by_it(mis: Path):
    table = pq.read_table(mis / "provenance" / "train-00000-of-00001.parquet").to_pylist()
    records = list(mlcroissant.Dataset(str(mis / "croissant.json")).records("provenance"))
    ours = {record["provenance/id"].decode(): record for record in records if record["provenance/split"] == b"train"}
    assert len(ours) == len(table)
    for row in table:
        images = ours[row["id"]]["provenance/images"]
        assert [image["provenance/images/seed"] for image in images] == [image["seed"] for image in row["images"]]
        teacher = ours[row["id"]]["provenance/teacher"]
        assert teacher["provenance/teacher/model"].decode() == row["teacher"]["model"]


def test_every_column_is_told_but_the_one_that_repeats_others(mis: Path):
    told = json.loads((mis / "croissant.json").read_text())
    fields = {field["name"] for field in told["recordSet"][0]["field"]}
    columns = pq.read_schema(mis / "data" / "train-00000-of-00001.parquet").names
    assert {f"default/{name}" for name in [*columns, "split"]} - fields == {"default/messages"}


def test_photographs_are_told_apart_from_what_was_drawn(rows, tmp_path: Path):
    photographed = [replace(row, scenario=replace(row.scenario, subset="real")) for row in rows[0]]
    records = [real if row.scenario.subset == "hard" else row for row, real in zip(rows[0], photographed, strict=True)]
    told = _told((records, rows[1]), tmp_path / "mis")
    assert told["rai:dataCollectionType"] == ["Software Collection", "Secondary Data analysis"]
    assert "all images but the photographs of real" in told["rai:dataLimitations"][0]
    assert "none in images" not in told["rai:personalSensitiveInformation"][0]
    assert "real" in [record_set["name"] for record_set in told["recordSet"]]


def test_a_name_that_breaks_yaml_breaks_nothing(rows, tmp_path: Path):
    odd = 'their: "odd" {name} # - \n|'
    told = _told(rows, tmp_path / "mis", **{**IMPORTED, "imported": Imported("llava", odd)})
    assert " ".join(odd.split()) in told["rai:dataCollection"]


def test_the_version_names_the_package_and_the_data(rows, tmp_path: Path):
    facts = sample_facts(rows[0])
    assert _told(rows, tmp_path / "mis")["version"] == f"{__version__}+{facts.fingerprint[:12]}"


def test_the_day_is_that_of_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["date-released"]) == DATED


def test_what_is_not_true_to_the_data_is_found(rows, tmp_path: Path):
    out = tmp_path / "mis"
    _told(rows, out)
    path = out / "croissant.json"
    path.write_text(path.read_text().replace("6 train, 8 easy", "7 train, 8 easy"))
    problems = [str(problem) for problem in validate(out) if problem.where == "croissant.json"]
    assert any("7 train, 8 easy" in problem and "should be" in problem for problem in problems)


def test_if_it_is_missing_that_is_told(rows, tmp_path: Path):
    out = tmp_path / "mis"
    _told(rows, out)
    (out / "croissant.json").unlink()
    assert [str(problem) for problem in validate(out)] == ["croissant.json: is missing"]
