"""The whole flow: same recipe, same bytes, whatever happens on the way."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from recipes import contents, tiny, tiny_text

from mis_dataset.errors import BackendError, MisError, OutputError
from mis_dataset.pipeline import build
from mis_dataset.run.progress import Silent
from mis_dataset.start import dry_run


class Notes(Silent):
    """Remembers what a person would be told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.advanced: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def advance(self, stage: str, items: float) -> None:
        self.advanced.append(stage)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tiny dataset, built in one go."""
    folder = tmp_path_factory.mktemp("reference")
    build(tiny(folder), folder / "mis", folder / "work")
    return contents(folder / "mis")


def rebuilt(folder: Path, text: str | None = None) -> tuple[dict[str, bytes], Notes]:
    notes = Notes()
    build(tiny(folder, text), folder / "mis", folder / "work", reporter=notes)
    return contents(folder / "mis"), notes


def test_quotas_are_met_and_twins_ride_along(tmp_path: Path):
    report = build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work")
    assert report.split is not None
    assert report.split.shortfalls == {}
    harmful = [row for row in report.split.rows if row.intent == "harmful"]
    assert len(harmful) == 9
    assert len(report.split.rows) > 12


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path, reference: dict[str, bytes]):
    assert rebuilt(tmp_path)[0] == reference


@pytest.mark.parametrize("size", [1, 5])
def test_bytes_do_not_depend_on_the_shard_size(tmp_path: Path, reference: dict[str, bytes], size: int):
    assert rebuilt(tmp_path, tiny_text(run=f"shard_size = {size}"))[0] == reference


def test_another_seed_gives_other_rows(tmp_path: Path, reference: dict[str, bytes]):
    other = rebuilt(tmp_path, tiny_text().replace("seed = 11", "seed = 12"))[0]
    assert other["data/train-00000-of-00001.parquet"] != reference["data/train-00000-of-00001.parquet"]


@pytest.mark.parametrize("shards", [1, 4, 9, 14, 20])
def test_a_killed_build_goes_on_from_its_finished_shards(tmp_path: Path, reference: dict[str, bytes], shards: int):
    recipe, work = tmp_path / "recipe.toml", tmp_path / "work"
    recipe.write_text(tiny_text(run="shard_size = 1"))
    command = [
        sys.executable,
        "-m",
        "mis_dataset",
        "build",
        str(recipe),
        "--out",
        str(tmp_path / "mis"),
        "--work",
        str(work),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(work.glob("*/shard-*.parquet"))) >= shards:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    finished = {path: path.stat().st_mtime_ns for path in work.glob("render-*/shard-*.parquet")}
    assert rebuilt(tmp_path, recipe.read_text())[0] == reference
    # Finished shards were used, not made again.
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_a_stopped_build_goes_on(tmp_path: Path, reference: dict[str, bytes]):
    report = build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", to="render")
    assert (report.out, report.split) == (None, None)
    assert not (tmp_path / "mis").exists()
    found, notes = rebuilt(tmp_path)
    assert found == reference
    assert "render" not in notes.advanced


def test_a_complete_dataset_is_left_alone(tmp_path: Path):
    rebuilt(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mis").rglob("*")}
    _, notes = rebuilt(tmp_path)
    assert notes.advanced == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "mis").rglob("*")} == before


def cut_short(data: bytes) -> bytes:
    return data[:100]


def one_letter_changed(data: bytes) -> bytes:
    """Within the page of a column that only those read who want whole records."""
    with pq.ParquetFile(io.BytesIO(data)) as file:
        columns = (file.metadata.row_group(0).column(place) for place in range(file.metadata.num_columns))
        (column,) = (one for one in columns if one.path_in_schema.endswith("question"))
        place = column.data_page_offset + column.total_compressed_size // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("damage", [cut_short, one_letter_changed])
@pytest.mark.parametrize("stage", ["compose", "render", "teach", "screen"])
def test_a_damaged_shard_is_made_again_and_said(
    tmp_path: Path, reference: dict[str, bytes], stage: str, damage: Callable[[bytes], bytes]
):
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", to="screen")
    (shard,) = (tmp_path / "work").glob(f"{stage}-*/shard-00000.parquet")
    shard.write_bytes(damage(shard.read_bytes()))
    found, notes = rebuilt(tmp_path)
    assert found == reference
    assert [note for note in notes.notes if f"{stage}" in note and ("again" in note)]


@pytest.mark.parametrize("damage", [b"garbage", None], ids=["damaged", "deleted"])
def test_damaged_or_deleted_images_are_drawn_again_and_said(
    tmp_path: Path, reference: dict[str, bytes], damage: bytes | None
):
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", to="screen")
    images = list((tmp_path / "work" / "images").rglob("*.png"))
    for image in images:
        image.unlink() if damage is None else image.write_bytes(damage)
    found, notes = rebuilt(tmp_path)
    assert found == reference
    said = f"drawn anew ({len(images)} damaged)" if damage else "refers to files that are missing"
    assert any(said in note for note in notes.notes)
    # This very build draws them: a person has nothing to do.
    assert not any("run the same command" in note for note in notes.notes)


def test_a_change_downstream_keeps_the_work_upstream(tmp_path: Path):
    rebuilt(tmp_path)
    changed = tiny(tmp_path, tiny_text(screen="min_answer_words = 13"))
    notes = Notes()
    build(changed, tmp_path / "other", tmp_path / "work", reporter=notes)
    assert set(notes.advanced) == {"screen"}


def test_a_complete_dataset_needs_no_work_folder(tmp_path: Path):
    rebuilt(tmp_path)
    shutil.rmtree(tmp_path / "work")
    _, notes = rebuilt(tmp_path)
    assert notes.advanced == []
    assert not (tmp_path / "work").exists()


def test_a_damaged_dataset_is_assembled_again_and_said(tmp_path: Path, reference: dict[str, bytes]):
    rebuilt(tmp_path)
    (tmp_path / "mis" / "data" / "train-00000-of-00001.parquet").write_bytes(b"cut short")
    found, notes = rebuilt(tmp_path)
    assert found == reference
    assert any("is damaged; it is made again" in note for note in notes.notes)


@pytest.mark.parametrize(("out", "work"), [("mis", "mis/work"), ("work", "work")], ids=["inside", "same"])
def test_a_work_folder_within_the_dataset_is_refused_before_any_work(tmp_path: Path, out: str, work: str):
    with pytest.raises(OutputError, match="which has to hold the dataset alone"):
        build(tiny(tmp_path), tmp_path / out, tmp_path / work)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_a_dataset_without_rows_is_not_published(tmp_path: Path):
    with pytest.raises(MisError, match=r"no row is left to publish: screen bare_refusal \d+"):
        rebuilt(tmp_path, tiny_text(screen="min_answer_words = 500"))
    assert not (tmp_path / "mis").exists()


@pytest.mark.parametrize("plan", ["", "[1]", '{"shards": "many"}', '{"shards": 99}'])
def test_a_damaged_plan_is_made_again_and_said(tmp_path: Path, reference: dict[str, bytes], plan: str):
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", to="screen")
    (file,) = (tmp_path / "work").glob("compose-*/plan.json")
    file.write_text(plan)
    found, notes = rebuilt(tmp_path)
    assert found == reference
    assert any("composing again" in note for note in notes.notes)


def test_a_directory_with_another_dataset_is_not_touched(tmp_path: Path):
    rebuilt(tmp_path)
    before = contents(tmp_path / "mis")
    with pytest.raises(OutputError, match="holds another dataset"):
        rebuilt(tmp_path, tiny_text().replace("seed = 11", "seed = 12"))
    assert contents(tmp_path / "mis") == before


def test_a_directory_with_other_files_is_not_touched(tmp_path: Path):
    (tmp_path / "mis").mkdir()
    (tmp_path / "mis" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="other files"):
        rebuilt(tmp_path)
    assert [path.name for path in (tmp_path / "mis").iterdir()] == ["thesis.txt"]


def test_a_shortfall_is_reported_or_fails_as_the_recipe_says(tmp_path: Path):
    # No answer has so many words: nothing passes the screen.
    text = tiny_text(screen="min_answer_words = 500")
    report = build(tiny(tmp_path, text), tmp_path / "mis", tmp_path / "work", to="split")
    assert report.split is not None
    assert sum(wanted - got for wanted, got in report.split.shortfalls.values()) == 9
    with pytest.raises(MisError, match="Property Crimes: 0 of 2"):
        build(
            tiny(tmp_path, text.replace("[split]", '[split]\non_shortfall = "fail"')),
            tmp_path / "mis",
            tmp_path / "work",
        )


def test_planning_writes_nothing(tmp_path: Path):
    text = dry_run(tiny(tmp_path), tmp_path / "mis", tmp_path / "work").text
    assert "9 harmful rows" in text
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_a_backend_that_cannot_work_stops_the_build_before_it_begins(tmp_path: Path):
    text = tiny_text().replace('backend = "template"', 'backend = "no_such_lab:Teacher"')
    with pytest.raises(MisError, match="no_such_lab"):
        rebuilt(tmp_path, text)
    assert not (tmp_path / "work").exists()


OWN_BACKENDS = '''
from dataclasses import dataclass
from PIL import Image
from mis_dataset.options import option
from mis_dataset.records import Label, Verdict
from mis_dataset.render import Drawing
from mis_dataset.seeds import stable_random


@dataclass(frozen=True, kw_only=True)
class NoiseRenderer:
    """Draws coloured noise."""

    side: int = option(32, "Pixels.", minimum=8)

    def render(self, orders):
        for order in orders:
            noise = stable_random(order.seed).randbytes(self.side * self.side * 3)
            yield Drawing(Image.frombytes("RGB", (self.side, self.side), noise), model="noise", revision="1")


@dataclass(frozen=True, kw_only=True)
class TerseTeacher:
    """Says little."""

    def teach(self, requests):
        for request in requests:
            perception = tuple(f"I see {image.object}." for image in request.scenario.images)
            yield Label(perception, "So it is.", "I can't help with that one, sorry.", "terse", "1", "", 0, 0)


@dataclass(frozen=True, kw_only=True)
class NoCats:
    """Rejects cats."""

    def screen(self, rows):
        for row in rows:
            cat = any("cat" in image.object for image in row.scenario.images)
            yield Verdict("no-cats", "fail" if cat else "pass", "cat" if cat else "", "")
'''


def test_ones_own_renderer_teacher_and_filter_are_one_file_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_lab.py").write_text(OWN_BACKENDS)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = tiny_text().replace('"pictogram"\nsize = 64', '"my_lab:NoiseRenderer"\nside = 16')
    text = text.replace('"template"', '"my_lab:TerseTeacher"').replace('"rules"', '"my_lab:NoCats"')
    report = build(tiny(tmp_path, text), tmp_path / "mis", tmp_path / "work")
    assert report.split is not None
    assert report.split.shortfalls == {}
    table = pq.read_table(tmp_path / "mis" / "data" / "train-00000-of-00001.parquet")
    assert set(table["answer"].to_pylist()) == {"I can't help with that one, sorry."}


def test_a_missing_extra_is_said_before_the_build(tmp_path: Path):
    # The environment lies outside the process: a fresh interpreter in which openai cannot be imported.
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        tiny_text().replace(
            '"template"', '"openai_chat"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\napi_key_env = ""'
        )
    )
    code = (
        "import sys; sys.modules['openai'] = None; from mis_dataset.cli import main; "
        f"sys.argv = ['mis', 'build', {str(recipe)!r}, '--out', {str(tmp_path / 'mis')!r}]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == BackendError.exit_code
    assert "pip install 'mis-dataset[openai]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "work").exists()


def test_a_missing_key_is_said_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MY_SERVER_KEY", raising=False)
    text = tiny_text().replace(
        '"template"', '"openai_chat"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\napi_key_env = "MY_SERVER_KEY"'
    )
    with pytest.raises(BackendError, match="set the environment variable MY_SERVER_KEY"):
        rebuilt(tmp_path, text)
    assert not (tmp_path / "work").exists()
