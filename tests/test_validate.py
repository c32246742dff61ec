"""Every kind of damage is found, named with its row or file, and listed with all others."""

import hashlib
import json
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from samples import STAGES, sample_dataset, sample_facts, sample_rows

from mis_dataset.assemble import assemble
from mis_dataset.errors import DatasetError
from mis_dataset.recipe import CardSpec
from mis_dataset.validation import validate, validate_or_raise

TRAIN = "data/train-00000-of-00001.parquet"
HARD = "data/test-hard-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return sample_dataset(tmp_path_factory.mktemp("good"), 12)


@pytest.fixture
def copy(good, tmp_path):
    return shutil.copytree(good, tmp_path / "mis")


def test_a_good_dataset_has_no_problems(good):
    assert validate(good) == []
    validate_or_raise(good)


def test_missing_extra_and_changed_files_are_named(copy):
    (copy / "recipe.toml").unlink()
    (copy / "assets" / "preview.png").write_bytes(b"another picture")
    (copy / "notes.txt").write_text("mine")
    assert {problem.where: problem.message.split(":")[0] for problem in validate(copy)} == {
        "recipe.toml": "is missing",
        "assets/preview.png": "is not as it was written",
        "notes.txt": "is not in the manifest",
    }


# Git, the Hub's client and a push leave such things in what is fetched from the Hub.
def test_what_the_hub_adds_is_nobodys_business(copy):
    (copy / "CHANGELOG.md").write_text("# Changelog\n")
    (copy / ".gitattributes").write_text("*.parquet filter=lfs\n")
    (copy / ".cache" / "huggingface").mkdir(parents=True)
    (copy / ".cache" / "huggingface" / "README.md.lock").touch()
    assert validate(copy) == []


@pytest.mark.parametrize("damage", ["cut short", "overwritten", "torn inside"])
def test_a_parquet_file_that_cannot_be_read_is_named(copy, damage):
    data = (copy / HARD).read_bytes()
    middle = len(data) // 3
    damaged = {
        "cut short": data[:-100],
        "overwritten": b"not Parquet",
        "torn inside": data[:4] + b"\xff" * middle + data[4 + middle :],
    }[damage]
    (copy / HARD).write_bytes(damaged)
    problems = validate(copy)
    assert any("cannot be read as Parquet" in problem.message for problem in problems)
    assert {problem.where for problem in problems} == {HARD}  # the rows that are missing now are not listed one by one


def test_other_columns_are_reported_once(copy):
    table = pq.read_table(copy / HARD)
    pq.write_table(table.drop_columns("relation"), copy / HARD)
    found = [problem for problem in validate(copy) if "its columns are not those of the schema" in problem.message]
    assert [problem.where for problem in found] == [HARD]


def test_numbers_of_the_card_must_be_true(copy):
    card = (copy / "README.md").read_text()
    (copy / "README.md").write_text(card.replace("num_examples: 6\n", "num_examples: 7\n", 1))
    assert (
        "README.md: dataset_info in the YAML is not true to the data: [0].splits[0].num_examples is 7, but should be 6"
        in map(str, validate(copy))
    )


def test_configs_of_the_card_must_fit_the_files(copy):
    card = (copy / "README.md").read_text()
    (copy / "README.md").write_text(card.replace("path: data/test-hard-*", "path: data/hard-*"))
    assert any("configs in the YAML is not true to the data" in problem.message for problem in validate(copy))


def test_a_card_without_metadata_is_a_problem(copy):
    (copy / "README.md").write_text("# Hello\n")
    assert "README.md: no YAML block at the top" in map(str, validate(copy))


def test_numbers_of_the_manifest_must_be_true(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["rows"]["train"] += 1
    manifest["twins"] = 0
    manifest["files"][TRAIN]["rows"] = 5
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert [str(problem) for problem in validate(copy)] == [
        "manifest.json: rows is {'train': 7, 'test': 16}, but should be {'train': 6, 'test': 16}",
        "manifest.json: twins is 0, but should be 10",
        f"manifest.json: {TRAIN} has 6 rows, not 5",
    ]


def test_a_manifest_must_follow_its_schema(copy):
    (copy / "manifest.json").write_text(json.dumps({"format": 1, "stages": STAGES, "files": {"a": {"bytes": -1}}}))
    found = "\n".join(map(str, validate(copy)))
    assert "manifest.json: 'fingerprint' is a required property" in found
    assert "manifest.json: files.a.bytes: -1 is less than the minimum of 0" in found


def test_a_directory_without_a_manifest_is_not_a_dataset(tmp_path):
    (problem,) = validate(tmp_path)
    assert problem.where == "manifest.json"


def test_all_problems_are_raised_together(copy):
    (copy / "notes.txt").write_text("mine")
    (copy / "README.md").write_text("# Hello\n")
    with pytest.raises(DatasetError) as caught:
        validate_or_raise(copy)
    assert len(caught.value.problems) == 3
    assert "3 problems" in str(caught.value)


def test_every_problem_is_listed(copy):
    for number in range(120):
        (copy / f"note-{number}.txt").touch()
    with pytest.raises(DatasetError) as caught:
        validate_or_raise(copy)
    assert len(caught.value.problems) == 120


@pytest.mark.parametrize(
    ("old", "new"),
    [("in 1 of 6 cells", "in 2 of 6 cells"), ("| hard | test |", "| hard | test  |"), ("22 rows with", "23 rows with")],
    ids=["quotas", "table", "count"],
)
def test_every_number_and_word_of_the_card_is_compared_with_the_data(copy, old, new):
    card = copy / "README.md"
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new, 1))
    _sign(copy)
    (problem,) = validate(copy)
    assert problem.where == "README.md"
    assert "but should be" in problem.message


# Signed: where the digest is wrong as well, that alone would be told.
@pytest.mark.parametrize("path", ["README.md", "croissant.json", "recipe.toml"])
def test_a_text_that_is_none_is_named(copy, path):
    (copy / path).write_bytes((copy / path).read_bytes() + b"# \xe9\n")
    _sign(copy)
    assert {problem.where for problem in validate(copy)} == {path}


# As datasets were written before recipes were checked for it.
def test_what_the_hub_would_refuse_of_the_card_is_a_problem(tmp_path):
    rows = sample_rows(tmp_path / "images", 4)
    card = CardSpec(languages=("english",), tags=("two\nlines",))
    text = '[card]\nlanguages = ["english"]\ntags = ["two\\nlines"]\n'
    facts = replace(sample_facts(rows), recipe_text=text, card=card)
    assemble(rows, facts, tmp_path / "images", tmp_path / "mis")
    assert [str(problem).partition("; ")[0] for problem in validate(tmp_path / "mis")] == [
        "recipe.toml: card.languages[0]: 'english' does not fit",
        "recipe.toml: card.tags[0]: 'two\\nlines' does not fit",
    ]


def test_a_forged_funnel_shows_in_the_card(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["funnel"][0]["count"] += 1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert [problem.where for problem in validate(copy)] == ["README.md", "croissant.json"]


def _sign(directory):
    """Make the manifest agree with the files, as a forger would."""
    manifest = json.loads((directory / "manifest.json").read_text())
    for path, facts in manifest["files"].items():
        data = (directory / path).read_bytes()
        facts |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (directory / "manifest.json").write_text(json.dumps(manifest))
