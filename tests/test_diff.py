"""What changed from one dataset to another, in directories and on the Hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hub import WRITER, Hub
from huggingface_hub.utils import close_session
from samples import draw, sample_facts, sample_rows

from mis_dataset.assemble import assemble
from mis_dataset.cli import cli
from mis_dataset.diff import Cell, Changed, Diff, KeyChange, Version, compare
from mis_dataset.diff.recipes import key_changes
from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.publish import push
from mis_dataset.records import Screened

# `huggingface_hub` uploads in a way that its own HTTP library discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")

Rows = list[Screened]
FAMILIES = 6


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images of all rows."""
    folder = tmp_path_factory.mktemp("shelf")
    sample_rows(folder / "images", FAMILIES)
    return folder


@pytest.fixture(scope="module")
def rows(shelf: Path) -> Rows:
    return sample_rows(shelf / "images", FAMILIES)


@pytest.fixture(scope="module")
def plain(shelf: Path, rows: Rows) -> Path:
    """The dataset with which others are compared."""
    return written(shelf, "plain", rows)


def written(shelf: Path, name: str, rows: Sequence[Screened], recipe: str = 'name = "sample"\nseed = 7\n') -> Path:
    facts = replace(sample_facts(list(rows)), recipe_text=recipe)
    assemble(list(rows), facts, shelf / "images", shelf / name)
    return shelf / name


def changes(before: Path, after: Path) -> Diff:
    return compare(Version.local(before), Version.local(after))


def relabelled(row: Screened) -> Screened:
    return replace(row, label=replace(row.label, answer="I would rather not."))


def redrawn(shelf: Path, row: Screened) -> Screened:
    pictures = (draw(shelf / "images", "another", "a hedge"), *row.pictures[1:])
    return replace(row, pictures=pictures)


def test_a_dataset_is_like_itself(plain: Path, rows: Rows):
    found = changes(plain, plain)
    assert found.is_empty
    assert (found.same, found.shift, str(found)) == (len(rows), 0, f"nothing changed in {len(rows)} rows")


def test_rows_that_are_new_or_gone_are_named(shelf: Path, plain: Path, rows: Rows):
    lost = {row.scenario.id for row in rows if row.scenario.subset == "easy"}
    fewer = written(shelf, "fewer", [row for row in rows if row.scenario.id not in lost])
    found = changes(plain, fewer)
    assert (set(found.removed), found.added, found.changed) == (lost, (), ())
    assert found.same == len(rows) - len(lost)
    back = changes(fewer, plain)
    assert (set(back.added), back.removed) == (lost, ())
    assert back.cells == {cell: (now, then) for cell, (then, now) in found.cells.items()}


def test_a_changed_label_is_named_with_its_columns(shelf: Path, plain: Path, rows: Rows):
    other = written(shelf, "relabelled", [relabelled(rows[0]), *rows[1:]])
    found = changes(plain, other)
    assert found.changed == (Changed(rows[0].scenario.id, ("response", "answer")),)
    assert (found.added, found.removed, found.same) == ((), (), len(rows) - 1)
    assert found.columns == {"response": 1, "answer": 1}


def test_a_changed_image_is_named_though_its_words_are_the_same(shelf: Path, plain: Path, rows: Rows):
    other = written(shelf, "redrawn", [redrawn(shelf, rows[0]), *rows[1:]])
    assert changes(plain, other).changed == (Changed(rows[0].scenario.id, ("images",)),)


def test_a_row_that_moves_to_another_subset_is_changed_not_new(shelf: Path, plain: Path, rows: Rows):
    family = next(row for row in rows if row.scenario.subset == "easy").scenario.family

    def moved(row: Screened) -> Screened:
        return replace(row, scenario=replace(row.scenario, subset="hard")) if row.scenario.family == family else row

    found = changes(plain, written(shelf, "moved", list(map(moved, rows))))
    assert {row.columns for row in found.changed} == {("subset",)}
    assert (found.added, found.removed) == ((), ())
    assert sorted(row.id for row in found.changed) == sorted(
        row.scenario.id for row in rows if row.scenario.family == family
    )


def test_another_order_is_a_change(shelf: Path, plain: Path, rows: Rows):
    found = changes(plain, written(shelf, "reversed", rows[::-1]))
    assert (found.is_reordered, found.is_empty, found.same) == (True, False, len(rows))
    assert "in another order" in str(found)
    assert not changes(plain, plain).is_reordered


def test_rows_that_come_from_another_subset_do_not_reorder_those_they_join(shelf: Path, plain: Path, rows: Rows):
    family = next(row for row in rows if row.scenario.subset == "hard").scenario.family
    moved = [
        replace(row, scenario=replace(row.scenario, subset="easy")) for row in rows if row.scenario.family == family
    ]
    # They come first, before rows that stood before them.
    joined = written(shelf, "joined", [*moved, *(row for row in rows if row.scenario.family != family)])
    found = changes(plain, joined)
    assert {row.id for row in found.changed} == {row.scenario.id for row in moved}
    assert not found.is_reordered


def test_new_rows_between_others_do_not_reorder_them(shelf: Path, plain: Path, rows: Rows):
    family = rows[2].scenario.family
    gap = written(shelf, "gap", [row for row in rows if row.scenario.family != family])
    assert not changes(gap, plain).is_reordered


def test_the_shift_is_the_share_of_rows_that_would_have_to_move(shelf: Path, plain: Path, rows: Rows):
    kept = [row for row in rows if row.scenario.subset != "easy"]
    easy = len(rows) - len(kept)
    assert easy
    # Those that stay make up the whole now; the share of the others is what moved.
    assert changes(plain, written(shelf, "no_easy", kept)).shift == pytest.approx(easy / len(rows))


def test_cells_count_rows_whether_files_are_shared_or_not(shelf: Path, plain: Path, rows: Rows):
    other = written(shelf, "cells", [relabelled(rows[0]), *rows[1:]])
    expected: dict[Cell, int] = {}
    for row in rows:
        cell = Cell(row.scenario.subset, row.scenario.sub_category, row.scenario.intent)
        expected[cell] = expected.get(cell, 0) + 1
    assert changes(plain, other).cells == {cell: (count, count) for cell, count in expected.items()}


def test_recipes_are_compared_key_by_key(shelf: Path, plain: Path, rows: Rows):
    other = written(shelf, "recipe", rows, 'name = "sample"\nseed = 8\n[card]\nlicense = "mit"\n')
    found = changes(plain, other)
    assert found.recipe == (KeyChange("seed", 7, 8), KeyChange("card", None, {"license": "mit"}))
    assert str(found).endswith(", 2 keys of the recipe changed")
    assert str(changes(plain, written(shelf, "seed", rows, 'name = "sample"\nseed = 8\n'))).endswith(
        ", 1 key of the recipe changed"
    )
    assert not found.is_empty


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1}}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, [KeyChange("a.b", 1, 3), KeyChange("a.c", 2, None)]),
        ({"s": [{"x": 1}, {"x": 2}]}, {"s": [{"x": 1}, {"x": 5}]}, [KeyChange("s[1].x", 2, 5)]),
        ({"s": [{"x": 1}]}, {"s": [{"x": 1}, {"x": 5}]}, [KeyChange("s", [{"x": 1}], [{"x": 1}, {"x": 5}])]),
        ({"t": ["en"]}, {"t": ["en", "de"]}, [KeyChange("t", ["en"], ["en", "de"])]),
    ],
    ids=["same", "lost", "in a list", "longer list", "values"],
)
def test_keys_are_named_by_their_paths(before: object, after: object, expected: list[KeyChange]):
    assert list(key_changes(before, after)) == expected


def test_no_image_is_read(shelf: Path, plain: Path, rows: Rows):
    other = written(shelf, "unread", [relabelled(rows[0]), *rows[1:]])
    versions = [Watched(one.place, one.manifest, one.open) for one in map(Version.local, (plain, other))]
    compare(*versions)
    for version in versions:
        assert "question" in version.asked
        assert [column for column in version.asked if column.startswith("images")] == ["images.list.element.sha256"] * 2


@dataclass(frozen=True)
class Watched(Version):
    """Notes which columns are read."""

    asked: list[str] = field(default_factory=list)

    def rows(self, path: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        self.asked.extend(columns)
        return super().rows(path, columns)


# The command


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, ["diff", *map(str, arguments)], standalone_mode=False)
    if isinstance(result.exception, Exception):
        raise result.exception
    return result


def code(result: Result) -> int:
    """The exit code; without its standalone mode click hands it back."""
    return result.return_value or 0


def test_the_exit_code_is_that_of_diff(shelf: Path, plain: Path, rows: Rows, tmp_path: Path):
    other = written(shelf, "codes", rows[1:])
    assert code(run(plain, plain)) == 0
    assert code(run(plain, other)) == 1
    with pytest.raises(DatasetError, match="is not a dataset") as trouble:
        run(plain, tmp_path / "nothing")
    assert trouble.value.exit_code == 2


def test_it_shows_what_changed(shelf: Path, plain: Path, rows: Rows):
    gone = rows[-1].scenario
    others = [relabelled(rows[0]), *(row for row in rows[1:] if row.scenario.family != gone.family)]
    shown = " ".join(run(plain, written(shelf, "shown", others, 'name = "sample"\nseed = 8\n')).output.split())
    assert f"A {plain} sample" in shown
    assert "1 changed (response 1, answer 1)" in shown
    assert "Changed columns column kind rows response label 1 answer label 1" in shown
    assert f"{gone.subset} {gone.sub_category} " in shown
    assert "Recipe key A B seed 7 8" in shown
    assert f"Changed rows row columns {rows[0].scenario.id} response, answer" in shown
    assert gone.id in shown.partition("Removed rows")[2]


def test_long_lists_are_cut_short(shelf: Path, plain: Path, rows: Rows):
    many = sample_rows(shelf / "images", 24)
    shown = run(plain, written(shelf, "many", many)).output
    assert f"… and {len(many) - len(rows) - 20:,} more; --json has all" in shown


def test_json_has_everything(shelf: Path, plain: Path, rows: Rows):
    other = written(shelf, "json", [*rows[:-1], relabelled(rows[-1])])
    result = run(plain, other, "--json")
    told = json.loads(result.output)
    assert code(result) == 1
    assert told["changed"] == [{"id": rows[-1].scenario.id, "columns": ["response", "answer"]}]
    assert (told["same"], told["is_empty"], told["before"]["rows"]) == (len(rows) - 1, False, len(rows))
    assert sum(cell["after"] for cell in told["cells"]) == len(rows)


def test_quiet_says_it_by_the_exit_code_alone(shelf: Path, plain: Path, rows: Rows):
    result = run(plain, written(shelf, "quiet", rows[1:]), "--quiet")
    assert (result.output, code(result)) == ("", 1)


def test_a_broken_file_is_named(shelf: Path, plain: Path, rows: Rows, tmp_path: Path):
    broken = shutil.copytree(written(shelf, "whole", rows[1:]), tmp_path / "broken")
    (broken / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"broken cannot be read:\n  - data/train-00000-of-00001.parquet"):
        run(plain, broken)


@pytest.mark.parametrize("damage", [None, b"seed =", b'name = "\xe9"'])
def test_a_broken_recipe_is_named(plain: Path, tmp_path: Path, damage: bytes | None):
    broken = shutil.copytree(plain, tmp_path / "broken")
    (broken / "recipe.toml").unlink() if damage is None else (broken / "recipe.toml").write_bytes(damage)
    with pytest.raises(DatasetError, match=r"broken cannot be read:\n  - recipe.toml: .*`mis validate` says more"):
        run(plain, broken)


@pytest.mark.parametrize(
    ("path", "lost"),
    [
        ("data/train-00000-of-00001.parquet", "relation"),
        ("provenance/train-00000-of-00001.parquet", "images"),
    ],
)
def test_columns_that_are_missing_are_named(shelf: Path, plain: Path, rows: Rows, tmp_path: Path, path: str, lost: str):
    broken = shutil.copytree(written(shelf, "columns", [relabelled(row) for row in rows]), tmp_path / "broken")
    pq.write_table(pq.read_table(broken / path).drop_columns(lost), broken / path)
    with pytest.raises(DatasetError, match=rf"broken cannot be read:\n  - {path}: it has no {lost}"):
        run(plain, broken)


def test_a_file_that_is_torn_inside_is_named(shelf: Path, plain: Path, rows: Rows, tmp_path: Path):
    broken = shutil.copytree(written(shelf, "torn", [relabelled(row) for row in rows]), tmp_path / "broken")
    path = broken / "data" / "train-00000-of-00001.parquet"
    data = path.read_bytes()
    footer = 8 + int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[:4] + b"\xff" * (len(data) - 4 - footer) + data[-footer:])
    with pytest.raises(DatasetError, match=r"broken cannot be read:\n  - data/train-00000-of-00001.parquet"):
        run(plain, broken)


# On the Hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, plain: Path) -> Iterator[Hub]:
    """A Hub that holds the dataset, tagged."""
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        push(plain, "lab/mis", tag="v1.0.0")
        yield hub
        close_session()


@pytest.mark.parametrize("revision", ["", "@v1.0.0"])
def test_a_version_on_the_hub_is_compared_like_a_directory(
    hub: Hub, shelf: Path, plain: Path, rows: Rows, revision: str
):
    other = written(shelf, "hub", rows[1:])
    found = compare(Version.find(f"lab/mis{revision}"), Version.local(other))
    expected = changes(plain, other)
    assert replace(found, before=expected.before) == expected
    assert found.before.place.startswith("lab/mis@")


def test_a_name_that_the_hub_does_not_know_is_trouble(hub: Hub, plain: Path):
    with pytest.raises(UsageError, match=r"lab/none is no directory here, and cannot be had from") as trouble:
        run(plain, "lab/none")
    assert trouble.value.exit_code == 2


def test_a_repository_without_a_manifest_is_no_dataset(hub: Hub, plain: Path):
    repository = hub.repositories["lab/mis"]
    repository.commit({path: blob for path, blob in repository.files.items() if path != "manifest.json"})
    with pytest.raises(DatasetError, match=r"lab/mis@\w{8} is not a dataset of mis"):
        run("lab/mis", plain)
