"""What holds of every format: whole or not at all, the same bytes again, a few rows in memory."""

import errno
import io
import os
import weakref
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from mis_dataset.errors import DatasetError, OutputError, StorageError, UsageError
from mis_dataset.formats import available, export, find_format, plan_export
from mis_dataset.formats._folder import fresh_folder
from mis_dataset.formats.source import Source

FORMATS = available()


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_the_formats_are_the_files_of_the_folder():
    wanted = {"llava", "llamafactory", "swift", "openai", "vlmevalkit", "lmms-eval", "webdataset", "pyrit"}
    assert wanted <= set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_one_method_and_documented(name: str):
    format_ = find_format(name)
    assert callable(format_.write)
    assert [method for method in vars(format_) if not method.startswith("_") and callable(vars(format_)[method])] == [
        "write"
    ]
    assert format_.__doc__


@pytest.mark.parametrize("name", FORMATS)
def test_exporting_again_gives_the_same_bytes(name: str, exported):
    first, second = files(exported(name)), files(exported(name))
    assert first == second
    assert first


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_tells_where_it_was_made(name: str, exported, tmp_path: Path):
    assert not any(str(tmp_path).encode() in content for content in files(exported(name)).values())


@dataclass(frozen=True, kw_only=True)
class Watched(Source):
    """Counts how many rows of its making are alive at once."""

    alive: weakref.WeakSet
    most: list[int]

    def rows(self, subset=None, intent=None):
        for row in super().rows(subset, intent):
            made = _Row(row)
            del row
            self.alive.add(made)
            self.most.append(len(self.alive))
            yield made
            del made


class _Row(dict):
    """A dict that can be watched."""

    __hash__ = object.__hash__


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_holds_few_rows(name: str, changed, tmp_path: Path):
    plain = Source.open(changed(lambda row: [{**row, "id": f"{row['id'][:-2]}{copy:02d}"} for copy in range(10)]))
    source = Watched(
        directory=plain.directory, name=plain.name, files=plain.files, intent="all", alive=weakref.WeakSet(), most=[]
    )
    (tmp_path / "out").mkdir()
    find_format(name)().write(source, tmp_path / "out")
    assert len(source.most) > 300
    assert max(source.most) <= 25


def test_every_row_is_told(dataset: Path, tmp_path: Path):
    told = []
    plan = export(dataset, "webdataset", tmp_path / "out", on_row=lambda: told.append(1))
    assert len(told) == plan.rows == 33


def test_the_folder_may_be_there_if_it_is_empty(dataset: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    export(dataset, "swift", tmp_path / "out")
    assert (tmp_path / "out" / "mis_train.jsonl").is_file()


def test_a_folder_in_use_is_left_alone(dataset: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty"):
        export(dataset, "swift", tmp_path / "out")
    assert files(tmp_path) == {"out/thesis.txt": b"mine"}


def test_a_file_is_left_alone(dataset: Path, tmp_path: Path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is not a folder"):
        export(dataset, "swift", tmp_path / "out")


# A shell in it would stand in a folder that is no more.
def test_the_current_folder_is_refused(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in (Path(), Path("..") / "here"):
        with pytest.raises(OutputError, match="is the current folder, which would be replaced"):
            export(dataset, "swift", out)
    assert list(Path.cwd().iterdir()) == []


def test_a_link_is_followed(dataset: Path, tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    export(dataset, "swift", tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "mis_train.jsonl").is_file()


def test_an_export_into_the_dataset_is_refused(dataset: Path):
    with pytest.raises(OutputError, match="lies in the dataset"):
        plan_export(dataset, "swift", dataset / "swift")


def test_a_failed_export_leaves_nothing(changed, tmp_path: Path, rows):
    last = [row for row in rows if row["subset"] == "train"][-1]["id"]
    directory = changed(lambda row: [{**row, "question": "See <image>?"} if row["id"] == last else row])
    with pytest.raises(DatasetError, match=last):
        export(directory, "llava", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["changed"]


def test_what_a_killed_export_left_is_replaced(dataset: Path, tmp_path: Path):
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "half.json").write_text("[")
    export(dataset, "swift", tmp_path / "out")
    assert "half.json" not in files(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_plan_writes_nothing(dataset: Path, tmp_path: Path):
    plan = plan_export(dataset, "pyrit", tmp_path / "out")
    assert (plan.rows, plan.left_out) == (12, 12)
    assert list(tmp_path.iterdir()) == []


def test_what_is_asked_for_overrules_what_a_format_is_for(dataset: Path, tmp_path: Path):
    plan = plan_export(dataset, "llava", tmp_path / "out", subsets=["hard"], intent="harmful")
    assert set(plan.counts) == {"hard"}
    assert {row["intent"] for row in plan.source.rows()} == {"harmful"}


def test_an_export_without_rows_is_refused(changed, tmp_path: Path):
    directory = changed(lambda row: [{**row, "intent": "benign"}])
    with pytest.raises(UsageError, match="no harmful rows in easy, hard; choose intent 'all'"):
        plan_export(directory, "pyrit", tmp_path / "out")


def test_two_rows_with_one_id_stop_an_export_before_it_begins(changed, tmp_path: Path):
    directory = changed(lambda row: [row, row])
    with pytest.raises(DatasetError, match="rows with one id"):
        export(directory, "swift", tmp_path / "out")


def test_an_unknown_format_gets_a_guess(dataset: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"no export format 'lava'; Did you mean 'llava'\?"):
        plan_export(dataset, "lava", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rot": ""}, "there is no option rot; swift has root$"), ({"root": 7}, "options of swift: root: 7")],
)
def test_wrong_options_are_named(options: dict, message: str, dataset: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=message):
        plan_export(dataset, "swift", tmp_path / "out", options)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"no image", "image 2 is broken"), (None, "image 2 is broken"), (encoded("BMP"), "image 2 is BMP; make it PNG")],
)
@pytest.mark.parametrize("name", ["vlmevalkit", "webdataset", "pyrit"])
def test_images_that_tools_cannot_read_are_named(name: str, data: bytes | None, message: str, changed, tmp_path: Path):
    def spoil(row):
        first, second, *others = row["images"]
        return [{**row, "images": [first, {**second, "bytes": data}, *others]}]

    with pytest.raises(DatasetError, match=f"mis-\\w+: {message}"):
        export(changed(spoil), name, tmp_path / "out")


# An image cell that is null has no bytes either, but is no cell.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, r"data/train-\S+, row 2: null as its id"),
        ({"question": None}, r"mis-\w+: null as its question"),
        ({"intent": None}, r"mis-\w+: null as its intent"),
        ({"images": None}, r"mis-\w+: null as its images"),
        ({"images": [None, None]}, r"mis-\w+: null among its images"),
    ],
)
@pytest.mark.parametrize("name", FORMATS)
def test_a_row_with_null_where_it_needs_a_value_is_named_before_anything_is_written(
    name: str, change: dict, message: str, changed, rows, tmp_path: Path
):
    second = [row for row in rows if row["subset"] == "train"][1]["id"]
    directory = changed(lambda row: [{**row, **change} if row["id"] == second else row])
    with pytest.raises(DatasetError, match=f"a row cannot be exported:\\s+- {message}; `mis validate` lists all"):
        plan_export(directory, name, tmp_path / "out", subsets=["train"])


@pytest.mark.parametrize("name", FORMATS)
def test_rows_of_which_nothing_else_is_known_are_exported(name: str, changed, tmp_path: Path):
    little = dict.fromkeys(["objects", "perception", "reasoning", "answer", "messages", "category", "relation"])
    export(changed(lambda row: [{**row, **little}]), name, tmp_path / "out")
    assert files(tmp_path / "out")


@pytest.mark.parametrize("name", ["llava", "webdataset", "lmms-eval"])
def test_an_id_cannot_lead_out_of_the_folder(name: str, changed, tmp_path: Path):
    directory = changed(lambda row: [{**row, "id": f"../{row['id']}"}])
    with pytest.raises(DatasetError, match="cannot name a file"):
        export(directory, name, tmp_path / "out")


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", ".jpg"), ("WEBP", ".webp"), ("PNG", ".png")])
def test_files_are_called_by_what_they_hold(kind: str, suffix: str, changed, tmp_path: Path):
    # A dataset may call its images whatever it likes.
    directory = changed(
        lambda row: [{**row, "images": [{"bytes": encoded(kind), "path": "x.gif"} for _ in row["images"]]}]
    )
    export(directory, "swift", tmp_path / "out")
    assert {path.suffix for path in (tmp_path / "out" / "images").rglob("*") if path.is_file()} == {suffix}


@pytest.mark.parametrize("name", ["llava", "llamafactory", "swift"])
@pytest.mark.parametrize("column", ["question", "response"])
def test_texts_with_tags_for_images_are_named(name: str, column: str, changed, tmp_path: Path):
    directory = changed(lambda row: [{**row, column: f"{row[column]} <image>"}])
    with pytest.raises(DatasetError, match=f"its {column} has <image>"):
        export(directory, name, tmp_path / "out")


@pytest.mark.parametrize("name", ["llava", "llamafactory", "swift", "openai"])
def test_a_row_without_a_response_cannot_be_learned(name: str, changed, tmp_path: Path):
    directory = changed(lambda row: [{**row, "response": None}])
    with pytest.raises(DatasetError, match="it has no response"):
        export(directory, name, tmp_path / "out")


def test_a_place_that_cannot_be_written_is_named(dataset: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"out cannot be written \(Not a directory\); choose another --out"):
        export(dataset, "swift", tmp_path / "file" / "out")


def test_a_full_disk_is_told_from_other_trouble(tmp_path: Path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    told = r"out cannot be written \(No space left on device\); free space, and"
    with pytest.raises(StorageError, match=told), fresh_folder(tmp_path / "out"):
        raise full


def cut_off(image: bytes) -> bytes:
    return image[:-40]


def spoilt(image: bytes) -> bytes:
    """With its pixels in two chunks, the second of which has no name."""
    start = image.index(b"IDAT") - 4
    end = start + 8 + int.from_bytes(image[start : start + 4], "big")
    chunks = [(b"IDAT", image[start + 8 : start + 20]), (b"\0" * 4, image[start + 20 : end])]
    written = b"".join(
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big") for name, data in chunks
    )
    return image[:start] + written + image[end + 4 :]


@pytest.mark.parametrize("damaged", [cut_off, spoilt])
def test_an_image_that_cannot_be_shrunk_is_named(damaged, changed, tmp_path: Path):
    directory = changed(
        lambda row: [{**row, "images": [{**image, "bytes": damaged(image["bytes"])} for image in row["images"]]}]
    )
    with pytest.raises(DatasetError, match=r"mis-\w+: image 1 is broken"):
        export(directory, "openai", tmp_path / "out", {"longest_side": 8})


@pytest.mark.parametrize("name", FORMATS)
def test_rows_of_which_little_is_known_are_exported(name: str, imported: Path, tmp_path: Path):
    told = []
    plan = export(imported, name, tmp_path / "out", on_row=lambda: told.append(1))
    assert plan.rows == 3 * len(plan.counts)
    assert len(told) == plan.rows
