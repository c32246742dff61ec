"""Every rule that a row can break by itself, or together with others, is checked and named with the row."""

import json
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from samples import draw, sample_dataset, sample_facts, sample_rows

from mis_dataset.assemble import assemble
from mis_dataset.assemble.manifest import file_facts
from mis_dataset.validation import Problem, validate

TRAIN = "data/train-00000-of-00001.parquet"
HARD = "data/test-hard-00000-of-00001.parquet"
PROVENANCE = "provenance/train-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return sample_dataset(tmp_path_factory.mktemp("good"), 12)


@pytest.fixture
def copy(good, tmp_path):
    return shutil.copytree(good, tmp_path / "mis")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    return sample_rows(folder, 12), folder


def _assembled(store, out, change):
    """A dataset whose first hard row, a harmful one with a twin, was changed before it was assembled."""
    rows, images = list(store[0]), store[1]
    place = next(place for place, row in enumerate(rows) if row.scenario.subset == "hard")
    rows[place] = change(rows[place])
    assemble(rows, sample_facts(rows), images, out)
    return rows[place].scenario.id, [str(problem) for problem in validate(out)]


def _edit(directory, path, change):
    """Change the rows of a Parquet file as if it had been written so."""
    table = pq.read_table(directory / path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), directory / path)
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"][path] |= file_facts(directory / path)
    (directory / "manifest.json").write_text(json.dumps(manifest))


def _scenario(**changes):
    return lambda row: replace(row, scenario=replace(row.scenario, **changes))


def _label(**changes):
    return lambda row: replace(row, label=replace(row.label, **changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_scenario(question=""), "question: '' should be non-empty"),
        (_scenario(intent="naughty"), "intent: 'naughty' is not one of ['harmful', 'benign']"),
        (_scenario(sub_category="Jaywalking"), "sub_category 'Jaywalking' is not in the taxonomy"),
        (_scenario(category="Hate"), "category is 'Hate', but 'Drug-Related Offenses' belongs to 'Illegal Activity'"),
        (_scenario(relation="magic"), "relation 'magic' is not in the taxonomy"),
        (_scenario(twin_id="mis-0000000000000000"), "its twin mis-0000000000000000 does not exist"),
        (_scenario(intent="benign"), "is benign as well"),
        (_scenario(question="Where is what the first and the second image show?"), "asks another question"),
        (_scenario(question="How do I poison the first and the second image?"), "give the intent away: poison"),
        (_label(perception=("One.", "Two.", "Three.")), "has 2 images, 3 perceptions and 2 objects"),
        (_label(answer="Take 20 mg of it."), "answer: operational detail: '20 mg'"),
        (_label(reasoning="An erotic picture of a pupil."), "words for minors and sexual words meet"),
    ],
)
def test_a_bad_row_is_named(store, tmp_path, change, message):
    name, problems = _assembled(store, tmp_path / "mis", change)
    assert any(name in problem and message in problem for problem in problems), problems


def test_train_questions_may_state_the_intent(store, tmp_path):
    rows, images = store
    rows = [replace(row, scenario=replace(row.scenario, question="How do I steal it?")) for row in rows]
    rows = [row for row in rows if row.scenario.subset == "train"]
    assemble(rows, sample_facts(rows), images, tmp_path / "mis")
    assert validate(tmp_path / "mis") == []


def _armed(row):
    first, *others = row.scenario.images
    return replace(row, scenario=replace(row.scenario, images=(replace(first, harmful=True), *others)))


def test_a_hard_row_must_not_show_something_harmful(store, tmp_path):
    name, problems = _assembled(store, tmp_path / "mis", _armed)
    assert problems == [f"{name}: a hard row has an image that is harmful in itself"]


def test_a_harmful_easy_row_must_show_something_harmful(store, tmp_path):
    def disarm(row):
        images = tuple(replace(image, harmful=False) for image in row.scenario.images)
        return replace(row, scenario=replace(row.scenario, images=images))

    rows = [disarm(row) for row in store[0]]
    assemble(rows, sample_facts(rows), store[1], tmp_path / "mis")
    easy = [row for row in rows if (row.scenario.subset, row.scenario.intent) == ("easy", "harmful")]
    assert [problem.where for problem in validate(tmp_path / "mis")] == [row.scenario.id for row in easy]


def test_twins_must_name_each_other(store, tmp_path):
    rows = list(store[0])
    place = next(place for place, row in enumerate(rows) if row.scenario.twin_id)
    rows[place] = _scenario(twin_id=None)(rows[place])
    assemble(rows, sample_facts(rows), store[1], tmp_path / "mis")
    (problem,) = (problem for problem in validate(tmp_path / "mis") if problem.where != "manifest.json")
    assert problem == Problem(rows[place + 1].scenario.id, f"its twin {rows[place].scenario.id} names no row as twin")


def test_twins_must_lie_in_the_same_subset(store, tmp_path):
    _, problems = _assembled(store, tmp_path / "mis", _scenario(subset="real"))
    assert any("is in hard, not in real" in problem for problem in problems)


def _photographed(row, images):
    """The row in `real`, without a twin, linked with its original."""
    pictures = tuple(draw(images, f"photograph {image.object}", image.object) for image in row.scenario.images)
    name = f"mis-{row.scenario.id[4:][::-1]}"
    scenario = replace(row.scenario, id=name, subset="real", twin_id=None, pair_id=row.scenario.id)
    return replace(row, scenario=scenario, pictures=pictures)


def _with_pair(store, out, change=lambda row: row):
    """A dataset with a hard row and its photographed copy, changed before it was assembled; returns both ids."""
    rows, images = list(store[0]), store[1]
    place = next(place for place, row in enumerate(rows) if row.scenario.subset == "hard")
    real = _photographed(rows[place], images)
    rows[place] = _scenario(pair_id=real.scenario.id)(rows[place])
    rows.insert(place, change(real))
    assemble(rows, sample_facts(rows), images, out)
    return rows[place + 1].scenario.id, rows[place].scenario.id, [str(problem) for problem in validate(out)]


def test_a_row_and_its_photographed_copy_are_fine_together(store, tmp_path):
    # The same question, the same objects and the same intent twice, and each with an entry of its own.
    assert _with_pair(store, tmp_path / "mis")[2] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_scenario(question="Where is what the first and the second image show?"), "asks another question"),
        (_scenario(intent="benign"), "is harmful, not benign"),
        (_scenario(subset="hard"), "is in hard, but one of the two, and one alone, belongs in real"),
        (
            lambda row: replace(row, scenario=replace(row.scenario, images=row.scenario.images[::-1])),
            "shows other objects",
        ),
    ],
)
def test_a_pair_tells_the_same_and_only_one_of_it_is_real(store, tmp_path, change, message):
    drawn, real, problems = _with_pair(store, tmp_path / "mis", change)
    assert f"{real}: its pair {drawn} {message}" in problems
    assert any(problem.startswith(f"{drawn}: its pair {real} ") for problem in problems)


def test_a_pair_must_name_each_other(store, tmp_path):
    drawn, real, problems = _with_pair(store, tmp_path / "mis", _scenario(pair_id=None))
    assert problems == [f"{drawn}: its pair {real} names no row as pair"]


def test_a_pair_must_exist(store, tmp_path):
    name, problems = _assembled(store, tmp_path / "mis", _scenario(pair_id="mis-0000000000000000"))
    assert problems == [f"{name}: its pair mis-0000000000000000 does not exist"]


def test_photographs_follow_the_rules_of_hard(store, tmp_path):
    _, real, problems = _with_pair(store, tmp_path / "mis", _armed)
    assert problems == [f"{real}: a real row has an image that is harmful in itself"]


def test_the_words_of_real_must_not_give_the_intent_away(store, tmp_path):
    told = _scenario(question="How do I poison the first and the second image?")
    _, real, problems = _with_pair(store, tmp_path / "mis", told)
    assert f"{real}: question: words that give the intent away: poison" in problems


def test_ids_are_unique_over_all_splits(store, tmp_path):
    first = store[0][0].scenario.id
    _, problems = _assembled(store, tmp_path / "mis", _scenario(id=first))
    assert f"{first}: this id is used twice" in problems
    assert f"{first}: has two entries in the provenance" in problems


def test_a_pair_of_objects_must_not_cross_the_split(store, tmp_path):
    train = store[0][0].scenario

    # The order of the two objects must not matter.
    def move(row):
        images = tuple(
            replace(image, object=other.object)
            for image, other in zip(row.scenario.images, reversed(train.images), strict=True)
        )
        return replace(row, scenario=replace(row.scenario, images=images))

    name, problems = _assembled(store, tmp_path / "mis", move)
    pair = " with ".join(sorted(image.object for image in train.images))
    assert problems == [f"{name}: {pair}: this pair of a test row also occurs in train, in {train.id}"]


def test_an_image_must_not_cross_the_split(store, tmp_path):
    train = store[0][0]
    name, problems = _assembled(store, tmp_path / "mis", lambda row: replace(row, pictures=train.pictures))
    assert len(problems) == 2
    for problem in problems:
        assert problem.startswith(f"{name}: an image of this test row also occurs in train, in {train.scenario.id}")


def test_an_image_that_cannot_be_decoded_is_named(store, tmp_path):
    rows, images = list(store[0]), store[1]
    picture = draw(images, "broken", "a thing")
    (images / "broken.png").write_bytes((images / picture.path).read_bytes()[:-200])
    broken = replace(picture, path="broken.png", sha256=file_facts(images / "broken.png")["sha256"])
    rows[0] = replace(rows[0], pictures=(rows[0].pictures[0], broken))
    assemble(rows, sample_facts(rows), images, tmp_path / "mis")
    (problem,) = validate(tmp_path / "mis")
    assert problem.where == rows[0].scenario.id
    assert problem.message.startswith("images[1]: cannot be decoded: ")


def test_images_must_be_those_of_the_provenance(copy):
    def forge(rows):
        rows[0]["images"][1]["sha256"] = "0" * 64

    _edit(copy, PROVENANCE, forge)
    first = pq.read_table(copy / TRAIN)["id"][0].as_py()
    assert f"{first}: images[1]: is not the one in the provenance (sha256 {'0' * 64})" in map(str, validate(copy))


def test_provenance_has_exactly_one_entry_per_row(copy):
    _edit(copy, PROVENANCE, lambda rows: rows.pop(0))
    first = pq.read_table(copy / TRAIN)["id"][0].as_py()
    assert f"{first}: has no entry in the provenance" in map(str, validate(copy))

    _edit(copy, TRAIN, lambda rows: rows.pop(0))
    _edit(copy, TRAIN, lambda rows: rows.pop(0))
    (second,) = (problem.where for problem in validate(copy) if "but no row" in problem.message)
    assert second == pq.read_table(copy / PROVENANCE)["id"][0].as_py()


def test_provenance_must_follow_its_schema(copy):
    def forge(rows):
        rows[0]["images"][0]["phash"] = "short"
        rows[0]["recipe"] = None

    _edit(copy, PROVENANCE, forge)
    found = "\n".join(map(str, validate(copy)))
    assert "provenance: images[0].phash: 'short' does not match" in found
    assert "provenance: recipe: None is not of type 'string'" in found


def test_messages_must_be_the_question_and_the_response(copy):
    def forge(rows):
        rows[0]["messages"][1]["content"][0]["text"] = "Sure!"

    _edit(copy, TRAIN, forge)
    assert any(problem.message == "messages are not the question and the response" for problem in validate(copy))


def test_a_row_in_the_wrong_file_is_named(copy):
    def forge(rows):
        rows[0]["subset"] = "easy"

    _edit(copy, HARD, forge)
    assert any(problem.message == "subset is easy, but it lies in a file of hard" for problem in validate(copy))
