"""What is put to a model: a dataset's rows, images in order and untouched, pairs together."""

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from asking import case, in_url, pictures, png
from PIL import Image
from samples import sample_dataset

from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.evaluate.cases import Case, Source, family_of
from mis_dataset.evaluate.records import Answered
from mis_dataset.evaluate.samples import CaseDataset, answered, data_url, images_of, judged, to_sample


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_dataset(tmp_path_factory.mktemp("dataset"))


def stored(dataset: Path, subset: str) -> dict[str, dict]:
    files = sorted(dataset.glob(f"data/test-{subset}-*.parquet"))
    return {row["id"]: row for file in files for row in pq.read_table(file).to_pylist()}


def test_a_subset_has_its_rows_in_the_datasets_order(dataset: Path):
    cases = Source.of(str(dataset)).cases("hard")
    assert [case.row.id for case in cases] == list(stored(dataset, "hard"))


def test_test_means_all_test_subsets(dataset: Path):
    cases = Source.of(str(dataset)).cases("test")
    assert {case.row.subset for case in cases} == {"easy", "hard"}
    assert len(cases) == len(stored(dataset, "easy")) + len(stored(dataset, "hard"))


def test_a_case_has_what_is_stored_of_its_row_but_no_label(dataset: Path):
    rows = stored(dataset, "easy")
    for found in Source.of(str(dataset)).cases("easy"):
        row = rows[found.row.id]
        for key in ("intent", "subset", "category", "sub_category", "relation", "twin_id"):
            assert getattr(found.row, key) == row[key]
        assert (found.question, found.objects, found.row.images) == (
            row["question"],
            tuple(row["objects"]),
            len(row["images"]),
        )
        assert found.row.response == ""


def test_images_come_in_order_and_to_the_byte(dataset: Path):
    rows = stored(dataset, "hard")
    for found in Source.of(str(dataset)).cases("hard"):
        assert list(found.load_images()) == [image["bytes"] for image in rows[found.row.id]["images"]]


@pytest.mark.parametrize("intent", ["harmful", "benign"])
def test_one_intent_alone_can_be_asked_for(dataset: Path, intent: str):
    assert {case.row.intent for case in Source.of(str(dataset)).cases("test", intent)} == {intent}


def test_a_limit_keeps_pairs_together(dataset: Path):
    cases = Source.of(str(dataset)).cases("test", limit_families=3)
    families = [family_of(case.row) for case in cases]
    assert len(set(families)) == 3
    assert len(families) == 6


def test_a_smaller_limit_is_a_part_of_a_larger_one(dataset: Path):
    source = Source.of(str(dataset))
    ids = [{case.row.id for case in source.cases("test", limit_families=limit)} for limit in (2, 4, 6)]
    assert ids[0] < ids[1] < ids[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("real",), "has no rows in real"),
        (("train",), "'train' is none of test, easy, hard, real"),
        (("test", "neutral"), "'neutral' is none of"),
        (("test", "both", 0), "at least one family"),
    ],
)
def test_rows_that_cannot_be_had_are_a_usage_error(dataset: Path, arguments: tuple, message: str):
    with pytest.raises(UsageError, match=message):
        Source.of(str(dataset)).cases(*arguments)


def test_a_folder_that_is_no_dataset_is_named(tmp_path: Path):
    with pytest.raises(DatasetError, match="is not a dataset"):
        Source.of(str(tmp_path))


def test_a_damaged_file_is_named(tmp_path: Path):
    dataset = sample_dataset(tmp_path, families=6)
    path = next(dataset.glob("data/test-hard-*"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=f"{path.name} cannot be read"):
        Source.of(str(dataset)).cases("hard")


def test_a_sample_is_one_message_images_first():
    sample = to_sample(case(images=3))
    [message] = sample.input
    assert [part.type for part in message.content] == ["image", "image", "image", "text"]
    assert [in_url(image.image) for image in images_of(sample.input)] == pictures(3)
    assert message.content[-1].text == case().question


def test_a_samples_metadata_gives_the_row_back():
    asked = case(category="Hate", subset="easy", twin_id="two", relation="tool-target")
    metadata = to_sample(asked).metadata
    assert answered(metadata, "An answer.") == Answered(
        "one", "harmful", "An answer.", "easy", "Hate", "", "tool-target", 2, "two"
    )
    said = [{"judge": "a", "outcome": "refused", "reason": "It declines."}]
    assert judged(metadata, "An answer.", said).outcome == "refused"


def test_an_image_that_cannot_be_read_names_its_row():
    broken = Case(Answered("row-7", "harmful", ""), "What?", lambda: [b"no image"])
    with pytest.raises(DatasetError, match="row-7"):
        to_sample(broken)


@pytest.mark.parametrize(("kind", "mime"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_an_image_keeps_its_format(kind: str, mime: str):
    buffer = io.BytesIO()
    Image.new("RGB", (60, 30), "teal").save(buffer, kind)
    url = data_url(buffer.getvalue())
    assert url.startswith(f"data:{mime};base64,")
    assert in_url(url) == buffer.getvalue()
    with Image.open(io.BytesIO(in_url(data_url(buffer.getvalue(), 20)))) as small:
        assert (small.format, small.size) == (kind, (20, 10))


def test_an_image_that_is_small_enough_is_left_alone():
    assert in_url(data_url(png("red", 20), 20)) == png("red", 20)


def test_samples_are_made_when_they_are_asked_for():
    # A paper-sized test set would fill tens of gigabytes if its images were all in memory.
    read = []
    cases = [
        Case(Answered(f"row-{n}", "harmful", ""), "What?", lambda n=n: read.append(n) or pictures(2)) for n in range(5)
    ]
    dataset = CaseDataset(cases, "mis")
    assert len(dataset) == 5
    assert read == []
    assert [dataset[3].id, *(sample.id for sample in dataset[:2])] == ["row-3", "row-0", "row-1"]
    assert read == [3, 0, 1]


def test_cases_can_be_shuffled():
    dataset = CaseDataset([case(f"row-{n}") for n in range(20)], "mis")
    dataset.shuffle(3)
    ids = [sample.id for sample in dataset]
    assert ids != sorted(ids, key=lambda name: int(name[4:]))
    assert len(set(ids)) == 20
