"""What `mis validate` asks of a dataset that others made: less is known, and nothing may be wrong."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from official_files import OfficialFiles

from mis_dataset.intake import import_dataset
from mis_dataset.schema import arrow_schema
from mis_dataset.validation.rows import RowChecker


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A train row and its provenance."""
    folder = tmp_path_factory.mktemp("imported")
    official = OfficialFiles(folder / "MIS").write(test=False)
    import_dataset("legacy", official.root, folder / "out")
    return [pq.read_table(next((folder / "out" / name).glob("*"))).to_pylist()[0] for name in ("data", "provenance")]


def problems(rows, *, imported=True, **changes):
    checker = RowChecker(imported=imported)
    row = pa.Table.from_pylist([rows[0] | changes], schema=arrow_schema("row"))
    provenance = pa.Table.from_pylist([rows[1]], schema=arrow_schema("provenance"))
    found = [*checker.provenance(provenance), *checker.public_rows(row, "train"), *checker.between_rows()]
    return [problem.message for problem in found]


def test_what_is_not_known_may_be_missing(rows):
    assert problems(rows) == []


def test_of_our_own_rows_all_of_it_is_asked(rows):
    found = "\n".join(problems(rows, imported=False))
    for key in ("perception", "reasoning", "answer", "relation", "objects", "provenance: recipe"):
        assert f"{key}: " in found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"question": None}, "question: "),
        ({"question": ""}, "question: "),
        ({"intent": None}, "intent: "),
        ({"subset": None}, "subset: "),
        ({"subset": "easy"}, "lies in a file of train"),
        ({"id": "7"}, "id: "),
        ({"images": []}, "images: "),
        ({"response": "Another."}, "messages are not the question and the response"),
        ({"perception": ["One."]}, "has 2 images and 1 perception"),
        ({"objects": ["a", "b", "c"]}, "has 2 images and 3 objects"),
        ({"twin_id": "mis-0123456789abcdef"}, "its twin mis-0123456789abcdef does not exist"),
        ({"reasoning": "A pupil in lingerie."}, "words for minors and sexual words meet"),
    ],
)
def test_what_is_there_must_be_right(rows, changes, words):
    assert any(words in problem for problem in problems(rows, **changes))
