"""Datasets that grow: what was published stays as it was, and what is new comes after it."""

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import tomli_w
from chunks import new_bytes
from lab import seen
from recipes import contents, tiny, tiny_text
from test_pipeline import Notes

from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.errors import OutputError, RecipeError, StorageError
from mis_dataset.pipeline import build
from mis_dataset.recipe import Recipe, load_recipe
from mis_dataset.start import dry_run
from mis_dataset.validation import validate

SMALL = {
    "train": {"Property Crimes": 2, "Identity Theft": 1},
    "easy": {"Cybercrimes": 2},
    "hard": {"Drug-Related Offenses": 3, "Psychological Harm": 1},
}
# Cells that grow, one that stays, one that is new; those that grow come first and last among the cells.
LARGE = {
    "train": {"Property Crimes": 5, "Identity Theft": 1, "Cybercrimes": 2},
    "easy": {"Cybercrimes": 2},
    "hard": {"Drug-Related Offenses": 3, "Psychological Harm": 4},
}
LARGER = {**LARGE, "hard": {"Drug-Related Offenses": 6, "Psychological Harm": 4}}

Quotas = dict[str, Any]


def recipe(
    folder: Path, quotas: Quotas, *, run: str = "", split: str = "", side: int = 16, max_rounds: int = 4, **picky: Any
) -> Recipe:
    """The tiny recipe with other quotas, a renderer and a screener that write down what they see."""
    data = tomllib.loads(tiny_text(run, split=split)) | {"quotas": quotas, "limits": {"max_rounds": max_rounds}}
    data["render"] = {"backend": "lab:Sleepy", "side": side, "seconds": 0.0, "log": str(folder / "drawn.txt")}
    data["screen"].append({"backend": "lab:Picky", "log": str(folder / "seen.txt"), **picky})
    return tiny(folder, tomli_w.dumps(data))


def grow(folder: Path, *versions: Quotas, **settings: Any) -> Path:
    """Build one version after the other into the same directory."""
    for quotas in versions:
        build(recipe(folder, quotas, **settings), folder / "mis", folder / "work")
    return folder / "mis"


def rows(dataset: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each subset in order, images included."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(dataset.glob("data/*.parquet")):
        found.setdefault(re.sub(r"-\d+-of-\d+", "", path.stem), []).extend(pq.read_table(path).to_pylist())
    return found


def provenance(dataset: Path) -> dict[str, dict[str, Any]]:
    """How each row was made, by its id."""
    paths = sorted(dataset.glob("provenance/*.parquet"))
    return {row["id"]: row for path in paths for row in pq.read_table(path).to_pylist()}


def assert_grown(before: dict[str, list[dict[str, Any]]], after: dict[str, list[dict[str, Any]]]) -> None:
    """All rows of ``before`` are the first of their subsets in ``after``, and there are more."""
    assert before
    for subset, those in before.items():
        assert after[subset][: len(those)] == those
    assert sum(map(len, after.values())) > sum(map(len, before.values()))


class Grown(NamedTuple):
    """A dataset in its second version, and what was known when it was in its first."""

    folder: Path
    before: dict[str, list[dict[str, Any]]]
    made: dict[str, dict[str, Any]]
    drawn: list[str]
    screened: list[str]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    folder = tmp_path_factory.mktemp("grown")
    mis = grow(folder, SMALL)
    first = Grown(folder, rows(mis), provenance(mis), seen(folder / "drawn.txt"), seen(folder / "seen.txt"))
    grow(folder, LARGE)
    return first


def test_every_earlier_row_stays_as_it_was_and_new_ones_follow(grown: Grown):
    assert_grown(grown.before, rows(grown.folder / "mis"))


def test_how_earlier_rows_were_made_stays_as_well(grown: Grown):
    assert provenance(grown.folder / "mis").items() > grown.made.items()


def test_the_larger_quotas_are_met_exactly(grown: Grown):
    manifest = read_manifest(grown.folder / "mis")
    assert {(one["subset"], one["sub_category"]): one["got"] for one in manifest["quotas"]} == {
        (subset, name): rows for subset, cells in LARGE.items() for name, rows in cells.items()
    }
    assert validate(grown.folder / "mis") == []


def test_nothing_is_drawn_or_screened_again(grown: Grown):
    drawn, screened = seen(grown.folder / "drawn.txt"), seen(grown.folder / "seen.txt")
    assert (drawn[: len(grown.drawn)], screened[: len(grown.screened)]) == (grown.drawn, grown.screened)
    assert len(drawn) == len(set(drawn)) > len(grown.drawn)
    assert len(screened) == len(set(screened)) > len(grown.screened)


def test_the_same_command_again_has_nothing_to_do(grown: Grown):
    before = contents(grown.folder / "mis")
    # The recipe's file says nothing of the first version; the dataset does.
    assert build(recipe(grown.folder, LARGE), grown.folder / "mis", grown.folder / "nowhere").funnel == ()
    assert contents(grown.folder / "mis") == before


def test_the_recipe_that_it_carries_gives_the_same_bytes_from_nothing(grown: Grown, tmp_path: Path):
    carried = grown.folder / "mis" / "recipe.toml"
    assert tomllib.loads(carried.read_text())["earlier"] == [SMALL]
    build(load_recipe(carried), tmp_path / "mis", tmp_path / "work")
    assert contents(tmp_path / "mis") == contents(grown.folder / "mis")


@pytest.mark.parametrize("size", [1, 5])
def test_bytes_do_not_depend_on_the_shard_size(grown: Grown, tmp_path: Path, size: int):
    assert contents(grow(tmp_path, SMALL, LARGE, run=f"shard_size = {size}")) == contents(grown.folder / "mis")


def test_a_version_may_follow_a_version(grown: Grown, tmp_path: Path):
    for name in ("mis", "work"):
        shutil.copytree(grown.folder / name, tmp_path / name)
    before = rows(tmp_path / "mis")
    build(recipe(grown.folder, LARGER), tmp_path / "mis", tmp_path / "work")
    assert_grown(before, rows(tmp_path / "mis"))
    assert tomllib.loads((tmp_path / "mis" / "recipe.toml").read_text())["earlier"] == [SMALL, LARGE]
    assert validate(tmp_path / "mis") == []


def test_rows_stay_where_screening_leaves_quotas_short(tmp_path: Path):
    # Few rows of one cell pass: both versions go several rounds, and the first one ends with a quota unmet.
    picky = {"sub_category": "Drug-Related Offenses", "share": 0.05, "max_rounds": 2}
    grow(tmp_path, SMALL, **picky)
    before = rows(tmp_path / "mis")
    assert any(one["got"] < one["wanted"] for one in read_manifest(tmp_path / "mis")["quotas"])
    assert_grown(before, rows(grow(tmp_path, LARGER, **picky)))
    assert validate(tmp_path / "mis") == []


def test_it_is_said_that_rows_stay(tmp_path: Path):
    grow(tmp_path, SMALL)
    larger = recipe(tmp_path, LARGE)
    assert "holds a smaller version, whose rows stay" in dry_run(larger, tmp_path / "mis", tmp_path / "work").text
    notes = Notes()
    build(larger, tmp_path / "mis", tmp_path / "work", reporter=notes)
    assert any("its rows stay as they are, and new ones come after them" in note for note in notes.notes)


def test_a_new_directory_gets_a_dataset_without_a_past(tmp_path: Path):
    grow(tmp_path, SMALL)
    build(recipe(tmp_path, LARGE), tmp_path / "new", tmp_path / "work")
    assert "earlier" not in tomllib.loads((tmp_path / "new" / "recipe.toml").read_text())


def test_one_hundredth_more_rows_send_at_most_two_hundredths_again(tmp_path: Path):
    # Of 256 x 256 noise, which is a fifth of the bytes of the images that SD 3.5 draws; of larger ones less is sent.
    quotas = {"train": 50, "easy": 25, "hard": 25}
    first = shutil.copytree(grow(tmp_path, quotas, side=256), tmp_path / "first")
    second = grow(tmp_path, {**quotas, "train": 51}, side=256)
    assert read_manifest(second)["rows"]["train"] > read_manifest(first)["rows"]["train"]
    before, after = ([path for path in folder.rglob("*") if path.is_file()] for folder in (first, second))
    total = sum(path.stat().st_size for path in after)
    assert new_bytes(before, after) <= 0.02 * total
    # The measure is not blind: to whom nothing is known, everything is new.
    assert new_bytes([], after) > 0.95 * total


def test_a_limited_recipe_has_no_past(grown: Grown):
    carried = load_recipe(grown.folder / "mis" / "recipe.toml")
    assert carried.limited(3).earlier == ()
    assert carried.versions == (*carried.earlier, carried.quotas)


def test_what_a_build_killed_within_the_swap_had_moved_away_is_gone_on_from(tmp_path: Path):
    mis = grow(tmp_path, SMALL)
    before = rows(mis)
    mis.rename(tmp_path / ".mis.earlier")
    assert_grown(before, rows(grow(tmp_path, LARGE)))
    assert tomllib.loads((mis / "recipe.toml").read_text())["earlier"] == [SMALL]


def test_what_was_fetched_from_the_hub_can_grow_and_keeps_what_came_with_it(tmp_path: Path):
    mis = grow(tmp_path, SMALL)
    came = {".gitattributes": b"*.parquet filter=lfs\n", ".cache/huggingface/notes": b"1", "CHANGELOG.md": b"# Changes"}
    for path, data in came.items():
        (mis / path).parent.mkdir(parents=True, exist_ok=True)
        (mis / path).write_bytes(data)
    grow(tmp_path, LARGE)
    assert contents(mis).items() > came.items()
    assert validate(mis) == []


# What it refuses


def test_files_that_would_be_lost_are_refused_before_anything_is_made(tmp_path: Path):
    mis = grow(tmp_path, SMALL)
    (mis / "notes.txt").write_text("mine")
    drawn = seen(tmp_path / "drawn.txt")
    with pytest.raises(OutputError, match=r"also holds notes\.txt; move that away"):
        grow(tmp_path, LARGE)
    assert seen(tmp_path / "drawn.txt") == drawn


@pytest.mark.parametrize("folder", ["data", "provenance"])
def test_rows_that_cannot_be_read_are_not_taken_for_gone(tmp_path: Path, folder: str):
    (path,) = grow(tmp_path, SMALL).glob(f"{folder}/train-*.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    before = contents(tmp_path / "mis")
    with pytest.raises(StorageError, match=rf"mis cannot be read(.|\n)*{folder}/{path.name}(.|\n)*build without it"):
        grow(tmp_path, LARGE)
    assert contents(tmp_path / "mis") == before


def test_an_earlier_version_that_wants_more_is_a_mistake(tmp_path: Path):
    data = tomllib.loads(recipe(tmp_path, SMALL).canonical()) | {"earlier": [LARGE]}
    with pytest.raises(
        RecipeError,
        match=r"earlier\[0\] wants more than the next:\n  - train / .*: 5, and then 2; 2 more\n  - .*delete \[\[earlier\]\] to start anew$",
    ):
        tiny(tmp_path, tomli_w.dumps(data))


def test_an_earlier_version_is_checked_like_quotas(tmp_path: Path):
    data = tomllib.loads(recipe(tmp_path, SMALL).canonical()) | {"earlier": [{"easy": "many"}]}
    with pytest.raises(RecipeError, match=r"earlier\[0\]\.easy: 'many' is neither a number of rows"):
        tiny(tmp_path, tomli_w.dumps(data))


def test_a_smaller_version_never_takes_a_larger_ones_place(tmp_path: Path):
    before = contents(grow(tmp_path, LARGE))
    with pytest.raises(OutputError, match=r"with larger quotas \(train / Property Crimes: 5, now 2\)"):
        grow(tmp_path, SMALL)
    assert contents(tmp_path / "mis") == before


def test_a_cell_may_not_shrink_while_another_grows(tmp_path: Path):
    grow(tmp_path, SMALL)
    with pytest.raises(OutputError, match="easy / Cybercrimes: 2, now 1"):
        grow(tmp_path, {**LARGE, "easy": {"Cybercrimes": 1}})


def test_rounds_may_not_change_along_with_the_quotas(tmp_path: Path):
    grow(tmp_path, SMALL, max_rounds=2)
    with pytest.raises(OutputError, match=r"limits\.max_rounds = 2; name as many"):
        grow(tmp_path, LARGE, max_rounds=3)


def test_whatever_else_changes_makes_another_dataset(tmp_path: Path):
    grow(tmp_path, SMALL)
    with pytest.raises(OutputError, match="holds another dataset"):
        grow(tmp_path, LARGE, split="max_same_question = 3")


def test_rows_that_a_changed_backend_would_make_otherwise_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    grow(tmp_path, SMALL)
    monkeypatch.setattr("lab.Sleepy.version", 2, raising=False)
    with pytest.raises(OutputError, match="render would make its rows otherwise now"):
        grow(tmp_path, LARGE)


def test_rows_that_come_out_otherwise_are_not_lost_unsaid(tmp_path: Path):
    # As where a server answered otherwise because the work folder with its first answers is gone.
    (path,) = grow(tmp_path, SMALL).glob("data/train-*.parquet")
    table = pq.read_table(path)
    first = table["id"][0].as_py()
    answers = ["Another answer.", *table["response"].to_pylist()[1:]]
    pq.write_table(table.set_column(table.schema.get_field_index("response"), "response", [answers]), path)
    before = contents(tmp_path / "mis")
    with pytest.raises(OutputError, match=rf"1 row of .* would not stay the same \(the first is {first}\)"):
        grow(tmp_path, LARGE)
    assert contents(tmp_path / "mis") == before
