"""The published MIS files: what is known to differ is read, whatever else is wrong is named row by row."""

import shutil
import zipfile
from dataclasses import asdict

import pytest
from official_files import OfficialFiles, png

from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.intake import Files, read_all
from mis_dataset.intake.legacy import Legacy


def read(place):
    return read_all(Legacy(), Files(place, Legacy.remedy), str(place))


def plain(rows):
    """What a reader sees of rows: everything but where they lay."""
    found = []
    for row in rows:
        record = asdict(row.record)
        for picture in record["pictures"]:
            del picture["path"], picture["source"]
        found.append((record, row.read()))
    return found


def problems(place):
    with pytest.raises(DatasetError) as caught:
        read(place)
    return caught.value.problems


@pytest.fixture
def official(tmp_path):
    return OfficialFiles(tmp_path / "MIS").write()


def test_every_row_is_read_in_order(official):
    rows = read(official.root)
    scenarios = [row.record.scenario for row in rows]
    assert [(scenario.subset, scenario.origin.row) for scenario in scenarios] == [
        (subset, str(number)) for subset in ("train", "easy", "hard", "real") for number in (1, 2, 3)
    ]
    assert scenarios[3].question == "What can I do with the first and the second image, easy 1?"
    assert (scenarios[3].category, scenarios[3].sub_category) == ("Violent", "Weapon-Related Violence")
    assert rows[3].read() == [png("easy_image/1/object1.png"), png("easy_image/1/object2.png")]


def test_a_train_row_has_its_question_without_marks_and_its_label_as_prose(official):
    record = read(official.root)[0].record
    assert record.scenario.question == "How do I use the first image on the second, 1?"
    assert record.label.response == "The images show two things.\n\nI won't help with that, 1."
    assert (record.label.perception, record.label.answer) == ((), "")


@pytest.mark.parametrize("sides", [{"train": False}, {"test": False}])
def test_train_or_test_alone_will_do(tmp_path, sides):
    official = OfficialFiles(tmp_path / "MIS").write(**sides)
    assert {row.record.scenario.subset == "train" for row in read(official.root)} == {"train" not in sides}


@pytest.mark.parametrize("alias", ["mis_test", "MIS-test", "MIS_Test"])
def test_the_folder_may_have_any_of_its_names(official, alias, tmp_path):
    expected = plain(read(official.root))
    official.root.rename(tmp_path / alias)
    assert plain(read(tmp_path)) == expected


@pytest.mark.parametrize("before", ["mis_test/", "MIS-test/", "./", "./mis_test/"])
def test_image_paths_may_begin_with_the_folder(official, before):
    expected = plain(read(official.root))

    def prefix(rows):
        for row in rows:
            row["image_path1"] = before + row["image_path1"]

    official.edit("mis_easy.json", prefix)
    assert plain(read(official.root)) == expected


def test_images_may_lie_below_zip_files(official):
    expected = plain(read(official.root))
    (official.root / "zip_files").mkdir()
    (official.root / "hard_image").rename(official.root / "zip_files" / "hard_image")
    assert plain(read(official.root)) == expected


@pytest.mark.parametrize("into", [".", "zip_files"])
@pytest.mark.parametrize("with_folder", [True, False])
def test_images_may_lie_in_zips(official, into, with_folder):
    expected = plain(read(official.root))
    for folder in ("images", "easy_image", "real_image"):
        official.pack(folder, into, with_folder=with_folder)
    assert plain(read(official.root)) == expected


# Train and test each have a zip on the Hub; a path in both must not be mixed up.
def test_zips_of_train_and_test_are_kept_apart(tmp_path):
    train = OfficialFiles(tmp_path / "MIS_Train").write(test=False)
    test = OfficialFiles(tmp_path / "MIS_Test").write(train=False)

    def rename(rows):
        for row in rows:
            row["image_path1"] = row["image_path1"].replace("easy_image", "images")

    test.edit("mis_easy.json", rename)
    shutil.copytree(test.root / "easy_image", test.root / "images")
    expected = plain(read(tmp_path))
    train.pack("images")
    test.pack("images")
    assert plain(read(tmp_path)) == expected


def test_a_file_may_be_an_object(official):
    official.edit("mis_easy.json", lambda rows: {str(number): row for number, row in enumerate(rows)})
    rows = [row.record.scenario.origin.row for row in read(official.root) if row.record.scenario.subset == "easy"]
    assert rows == ["0", "1", "2"]


def test_train_categories_may_be_missing(official):
    expected = [row.record.scenario.id for row in read(official.root)]

    def strip(rows):
        for row in rows:
            del row["category"], row["sub_category"]

    official.edit("mis_train.json", strip)
    found = [row.record.scenario for row in read(official.root)]
    assert {(scenario.category, scenario.sub_category) for scenario in found[:3]} == {("", "")}
    # They came with a later version of the file: the same rows, so the same ids.
    assert [scenario.id for scenario in found] == expected


def test_ids_follow_from_the_content_alone(official, tmp_path):
    expected = {row.record.scenario.id for row in read(official.root)}
    official.edit("mis_hard.json", lambda rows: [{**row, "id": row["id"] + 700} for row in reversed(rows)])
    official.pack("hard_image", "zip_files")
    moved = shutil.copytree(official.root, tmp_path / "elsewhere")
    assert {row.record.scenario.id for row in read(moved)} == expected


def test_the_same_row_twice_gets_two_ids(official):
    official.edit("mis_easy.json", lambda rows: [*rows, rows[0]])
    ids = [row.record.scenario.id for row in read(official.root)]
    assert len(set(ids)) == len(ids) == 13


def test_images_may_start_from_another_folder(official, tmp_path):
    expected = plain(read(official.root))
    (tmp_path / "rows").mkdir()
    for file in official.root.glob("*.json"):
        file.rename(tmp_path / "rows" / file.name)
    files = Files(tmp_path / "rows", Legacy.remedy, images=official.root)
    assert plain(read_all(Legacy(), files, "rows")) == expected


def test_that_folder_alone_has_them_then(official, tmp_path):
    expected = plain(read(official.root))
    others = OfficialFiles(tmp_path / "rows").write()
    for image in others.root.rglob("*.png"):
        image.write_bytes(png("another"))
    assert plain(read_all(Legacy(), Files(others.root, Legacy.remedy, images=official.root), "rows")) == expected
    shutil.rmtree(official.root / "hard_image")
    with pytest.raises(DatasetError, match=r"the image hard_image/1/object1\.png is not there"):
        read_all(Legacy(), Files(others.root, Legacy.remedy, images=official.root), "rows")


# As /tmp is on some systems.
def test_folders_above_may_be_links(official, tmp_path):
    (tmp_path / "linked").symlink_to(official.root.parent)
    file, images = tmp_path / "linked" / "rows" / "mis_hard.json", tmp_path / "linked" / official.root.name
    file.parent.mkdir()
    (official.root / file.name).rename(file)
    assert len(read_all(Legacy(), Files(file, Legacy.remedy, images=images), "rows")) == 3


def test_test_rows_with_another_number_of_images_can_be_left_out(official):
    official.edit("mis_hard.json", lambda rows: rows[1].update(image_path2=None))
    files = Files(official.root, Legacy.remedy, multi_image_only=True)
    assert len(read_all(Legacy(), files, "rows")) == 11
    assert files.passed_over == ["mis_hard.json, entry 2"]


def test_one_file_may_be_named(official):
    rows = read(official.root / "mis_hard.json")
    assert [row.record.scenario.subset for row in rows] == ["hard"] * 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/passwd", "is not a relative path"),
        ("C:/images/1.png", "is not a relative path"),
        ("~/1.png", "is not a relative path"),
        ("https://example.org/1.png", "is not a relative path"),
        ("../secret.png", "leads out of its folder"),
        ("hard_image/../../secret.png", "leads out of its folder"),
        ("hard_image\\1\\object1.png", "has backslashes"),
        ("hard_image/99/object1.png", "is not there"),
        ("hard_image/1", "is not there"),
        ("", "give the path of a file"),
        (None, "give the path of a file"),
        (7, "give the path of a file"),
        pytest.param(
            f"data:image/png;base64,{'iVBORw0K/' * 999}", "is a data URL; write it into a file", id="data URL"
        ),
        pytest.param("x" * 300, f"the image {'x' * 255}… ", id="a long name"),
        pytest.param("x/" * 3000, f"the image {'x/' * 127}x… ", id="a long path"),
    ],
)
def test_a_path_that_cannot_be_followed_is_named(official, tmp_path, name, words):
    (tmp_path / "secret.png").write_bytes(png("secret"))
    official.edit("mis_hard.json", lambda rows: rows[1].update(image_path2=name))
    (problem,) = problems(official.root)
    assert problem.startswith("mis_hard.json, entry 2: ")
    assert words in problem
    assert len(problem) < 500


def test_a_name_that_is_too_long_does_not_hide_what_else_is_wrong(official):
    def spoil(rows):
        rows[0]["image_path1"] = "x" * 300
        rows[2]["image_path1"] = "gone.png"

    official.edit("mis_hard.json", spoil)
    assert [problem.split(":")[0] for problem in problems(official.root)] == [
        "mis_hard.json, entry 1",
        "mis_hard.json, entry 3",
    ]


@pytest.mark.parametrize("target", ["outside", "inside"])
def test_a_linked_image_is_named(official, tmp_path, target):
    place = official.root / "hard_image" / "2" / "object1.png"
    other = {"outside": tmp_path / "secret.png", "inside": official.root / "hard_image" / "1" / "object1.png"}[target]
    (tmp_path / "secret.png").write_bytes(png("secret"))
    place.unlink()
    place.symlink_to(other)
    (problem,) = problems(official.root)
    assert problem.startswith("mis_hard.json, entry 2: the image hard_image/2/object1.png is a link")


def test_images_in_a_linked_folder_are_named(official, tmp_path):
    (official.root / "hard_image").rename(tmp_path / "hard_image")
    (official.root / "hard_image").symlink_to(tmp_path / "hard_image")
    found = problems(official.root)
    assert len(found) == 6
    assert all("lies in a linked folder" in problem for problem in found)


def test_a_linked_file_of_rows_is_named(official, tmp_path):
    (official.root / "mis_hard.json").rename(tmp_path / "mis_hard.json")
    (official.root / "mis_hard.json").symlink_to(tmp_path / "mis_hard.json")
    assert any(problem.startswith("mis_hard.json: is a link") for problem in problems(official.root))


def test_a_link_in_a_zip_is_named(official):
    archive = official.root / "hard_image.zip"
    shutil.rmtree(official.root / "hard_image" / "1")
    link = zipfile.ZipInfo("hard_image/1/object1.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(link, "/etc/passwd")
        packed.writestr("hard_image/1/object2.png", png("x"))
    (problem,) = problems(official.root)
    assert "is a link in hard_image.zip" in problem


@pytest.mark.parametrize("content", [b"", b"not an image", png("x")[:-40], png("x")[:60] + b"\0" * 200])
def test_broken_images_are_named(official, content):
    for number in (1, 3):
        (official.root / "real_image" / str(number) / "object2.png").write_bytes(content)
    found = problems(official.root)
    assert [problem.partition(" is broken")[0] for problem in found] == [
        f"mis_real.json, entry {number}: the image real_image/{number}/object2.png" for number in (1, 3)
    ]


def test_what_is_no_image_is_said_so_for_people(official):
    (official.root / "real_image" / "1" / "object2.png").write_bytes(b"not an image")
    (problem,) = problems(official.root)
    assert problem.endswith("is broken: it is no image, or of a kind that is not known; fetch it again")


def test_a_damaged_zip_is_named(official):
    archive = official.pack("hard_image")
    archive.write_bytes(archive.read_bytes()[:100])
    found = problems(official.root)
    assert found[0].startswith("hard_image.zip: cannot be read as a zip")
    assert len(found) == 7  # and every image in it


def test_half_a_folder_is_named(official):
    (official.root / "mis_hard.json").unlink()
    shutil.rmtree(official.root / "easy_image")
    found = problems(official.root)
    assert "mis_hard.json: is missing, though other test files are there; put it beside them" in found
    assert sum("the image easy_image/" in problem for problem in found) == 6


def test_of_very_many_problems_the_first_are_listed(tmp_path):
    official = OfficialFiles(tmp_path / "MIS", rows=60).write(train=False)
    shutil.rmtree(official.root / "easy_image")
    found = problems(official.root)
    assert len(found) == 101
    assert found[-1] == "and 20 more of the 120"


def test_two_rows_with_one_id_are_named(official):
    official.edit("mis_hard.json", lambda rows: rows[2].update(id=1))
    assert problems(official.root) == [
        "mis_hard.json, entry 3: has the id 1, as has mis_hard.json, entry 1; give each row its own"
    ]


def test_the_same_id_in_two_files_is_no_problem(official):
    official.edit("mis_easy.json", lambda rows: [{"id": number, **row} for number, row in enumerate(rows, 1)])
    assert len(read(official.root)) == 12


def test_two_copies_of_a_file_are_named(official):
    (official.root / "mis_test").mkdir()
    shutil.copy(official.root / "mis_easy.json", official.root / "mis_test")
    assert any(problem.startswith("mis_easy.json: lies in") for problem in problems(official.root))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": 1.5}, "its id is 1.5"),
        ({"id": True}, "its id is true"),
        ({"id": " "}, 'its id is " "'),
        ({"question": " "}, 'its question is " "'),
        ({"question": None}, "its question is null"),
        ({"category": 3}, "its category is 3"),
        ({"intent": "evil"}, "its intent is 'evil'"),
        ({"question": "Half: \ud83d"}, "has half a character"),
        ({"category": "Illegal\nActivity"}, "its category has the control character '\\n'; write it without"),
        ({"category": "Bell \x07"}, "its category has the control character '\\x07'"),
        ({"sub_category": "\x00"}, "its sub_category has the control character '\\x00'"),
        ({"sub_category": "Next\u2028line"}, "its sub_category has the control character '\\u2028'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(official, change, words):
    official.edit("mis_hard.json", lambda rows: rows[0].update(change))
    (problem,) = problems(official.root)
    assert problem.startswith("mis_hard.json, entry 1: ")
    assert words in problem


@pytest.mark.parametrize(
    ("conversations", "words"),
    [
        (None, "hold nothing"),
        ([], "hold nothing"),
        ([{"from": "human", "value": "<image><image>Q"}], "hold human;"),
        ([{"from": "human", "value": "Q"}, {"from": "gpt", "value": ""}], "hold human and a turn without words;"),
        ([{"from": "human", "value": "Q"}, {"from": "human", "value": "R"}], "hold human and human;"),
        ([{"from": "human", "value": "<image>Q"}, {"from": "gpt", "value": "A"}], "has 1 marks <image> and 2 images"),
        (
            [{"from": "human", "value": "Put <image> on <image>."}, {"from": "gpt", "value": "A"}],
            "has marks <image> inside its text",
        ),
    ],
)
def test_a_conversation_that_is_no_question_and_answer_is_named(official, conversations, words):
    official.edit("mis_train.json", lambda rows: rows[0].update(conversations=conversations))
    (problem,) = problems(official.root)
    assert problem.startswith("mis_train.json, entry 1: ")
    assert words in problem


@pytest.mark.parametrize("number", [0, 1, 5])
def test_a_row_with_too_few_or_too_many_images_is_named(official, number):
    image = ["images/1/object1.png"] * number
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    official.edit("mis_train.json", lambda rows: rows[0].update(image=image, conversations=turns))
    assert problems(official.root) == [f"mis_train.json, entry 1: has {number} images; a row has 2 to 4"]


@pytest.mark.parametrize("text", ["id\tquestion\n1\tHow?\n", "[{]", '"rows"', "\ufeff", "[" * 100_000])
def test_a_file_that_is_not_json_rows_is_refused(official, text):
    (official.root / "mis_easy.json").write_text(text)
    with pytest.raises(DatasetError, match=r"mis_easy.json cannot be read:[\s\S]*give a JSON list of rows"):
        read(official.root)


def test_a_row_that_is_no_object_is_named(official):
    official.edit("mis_easy.json", lambda rows: [*rows, "row"])
    assert problems(official.root) == ["mis_easy.json, entry 4: is not an object; write it as one"]


def test_an_empty_folder_is_refused(tmp_path):
    assert problems(tmp_path) == [
        f"{tmp_path.name}: there is no mis_train.json, nor any of mis_easy.json, mis_hard.json, mis_real.json"
    ]


@pytest.mark.parametrize("name", ["rows.tsv", "rows.csv", "nowhere"])
def test_what_is_no_such_file_is_refused(tmp_path, name):
    if "." in name:
        (tmp_path / name).write_text("index\tquestion\tA\tanswer\n0\tWhat?\tx\tA\n")
    with pytest.raises(UsageError, match=r"(is no JSON or JSONL file|does not exist); give the folder with mis_train"):
        read(tmp_path / name)
