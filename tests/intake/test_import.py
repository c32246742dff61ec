"""``mis import``: others' rows become a directory on which everything works that works on ours."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from datasets import load_dataset
from hub import WRITER, Hub
from huggingface_hub import DatasetCard
from huggingface_hub.utils import close_session
from official_files import OfficialFiles, png
from recipes import contents

from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.cli import cli
from mis_dataset.errors import DatasetError, OutputError, UsageError
from mis_dataset.evaluate.cases import Source
from mis_dataset.finetune.rows import learnt_rows
from mis_dataset.finetune.settings import FinetuneSettings
from mis_dataset.intake import Report, import_dataset
from mis_dataset.publish import push
from mis_dataset.recipe import CardSpec
from mis_dataset.validation import validate


@pytest.fixture
def official(tmp_path):
    return OfficialFiles(tmp_path / "MIS").write()


@pytest.fixture
def imported(official, tmp_path):
    import_dataset("legacy", official.root, tmp_path / "out")
    return tmp_path / "out"


def table(directory, config):
    return [row for path in sorted(directory.glob(f"{config}*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_the_dataset_is_valid(imported):
    assert validate(imported) == []


def test_what_is_known_is_there_and_the_rest_is_null_or_empty(imported):
    row = table(imported, "data/test-hard")[0]
    assert row["question"] == "What can I do with the first and the second image, hard 1?"
    assert [image["bytes"] for image in row["images"]] == [png(f"hard_image/1/object{place}.png") for place in (1, 2)]
    assert (row["category"], row["subset"], row["intent"]) == ("Violent", "hard", "harmful")
    nothing = {key: row[key] for key in ("response", "reasoning", "answer", "relation", "twin_id")}
    assert set(nothing.values()) == {None}
    assert row["perception"] == row["objects"] == []
    assert [message["role"] for message in row["messages"]] == ["user"]
    trained = table(imported, "data/train")[0]
    assert [message["role"] for message in trained["messages"]] == ["user", "assistant"]
    assert (
        trained["response"]
        == trained["messages"][1]["content"][0]["text"]
        == ("The images show two things.\n\nI won't help with that, 1.")
    )


def test_the_provenance_says_where_a_row_is_from_and_invents_nothing(imported):
    entry = table(imported, "provenance/test")[3]
    assert (entry["origin"]["source"], entry["origin"]["row"]) == ("mis_hard.json", "1")
    assert (entry["recipe"], entry["fingerprints"], entry["teacher"]["model"]) == (None, None, "")
    image = entry["images"][0]
    assert (image["source"], image["width"], image["height"]) == ("hard_image/1/object1.png", 12, 10)
    assert {image[key] for key in ("object", "harmful", "seed", "attempt", "batch", "steps")} == {None}


def test_manifest_and_card_are_honest(imported):
    manifest = read_manifest(imported)
    assert (manifest["imported"]["format"], manifest["imported"]["source"]) == ("legacy", "MIS")
    assert (manifest["stages"], manifest["quotas"]) == ({}, [])
    assert not (imported / "recipe.toml").exists()
    assert not (imported / "assets" / "preview.png").exists()  # nobody has looked at the images
    card = (imported / "README.md").read_text()
    assert "imported from MIS" in card
    assert "recipe" not in card.split("\n---\n", 1)[1]
    assert "newly generated" not in card
    metadata = DatasetCard(card).data.to_dict()
    assert metadata["license"] == "unknown"
    assert not {"synthetic", "over-refusal"} & set(metadata["tags"])
    assert "annotations_creators" not in metadata


def test_links_in_the_card_lead_somewhere(imported):
    links = re.findall(r"\]\((?!http)([^)]+)\)", (imported / "README.md").read_text())
    assert links
    assert all((imported / link).exists() for link in links)


def test_another_import_gives_the_same_bytes_and_replaces_the_first(official, imported, tmp_path):
    import_dataset("legacy", official.root, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(imported)
    import_dataset("legacy", official.root, imported)
    assert contents(tmp_path / "again") == contents(imported)


def test_other_rows_do_not_replace_it(official, imported):
    official.edit("mis_easy.json", lambda rows: rows[:2])
    before = contents(imported)
    with pytest.raises(OutputError, match="holds another dataset"):
        import_dataset("legacy", official.root, imported)
    assert contents(imported) == before


def test_images_in_zips_come_out_the_same(official, imported, tmp_path):
    official.pack("images", "zip_files")
    official.pack("hard_image")
    import_dataset("legacy", official.root, tmp_path / "zipped")
    for path in imported.glob("data/*.parquet"):
        assert (tmp_path / "zipped" / "data" / path.name).read_bytes() == path.read_bytes()


def test_an_image_in_train_and_test_is_refused_and_nothing_is_left(official, tmp_path):
    (official.root / "hard_image/1/object1.png").write_bytes(png("images/1/object1.png"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match="an image of this test row also occurs in train"):
        import_dataset("legacy", official.root, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


# The one rule of the content policy from which nothing is exempt.
def test_rows_where_words_for_minors_and_sexual_words_meet_are_left_out(official, tmp_path):
    official.edit("mis_easy.json", lambda rows: rows[1].update(question="A school uniform as lingerie?"))
    report = import_dataset("legacy", official.root, tmp_path / "out")
    assert report == Report(11, {"unsafe_for_minors": ["mis_easy.json, entry 2"]})
    assert validate(tmp_path / "out") == []
    assert "| 11 | 1 | unsafe_for_minors 1 |" in (tmp_path / "out" / "README.md").read_text()


def test_what_else_others_say_is_not_judged(official, tmp_path):
    official.edit(
        "mis_easy.json", lambda rows: rows[1].update(question="How do I steal it? Step 1?", category="Odd | x")
    )
    import_dataset("legacy", official.root, tmp_path / "out")
    assert validate(tmp_path / "out") == []


def test_rows_with_another_number_of_images_can_be_left_out(tmp_path):
    (tmp_path / "a.png").write_bytes(png("a"))
    (tmp_path / "b.png").write_bytes(png("b"))
    chat = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    rows = [
        {"image": ["a.png", "b.png"], "conversations": chat},
        {"conversations": chat * 3},
        {"image": "a.png", "conversations": chat * 2},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    with pytest.raises(DatasetError, match="entry 2"):
        import_dataset("llava", tmp_path / "rows.json", tmp_path / "out")
    report = import_dataset("llava", tmp_path / "rows.json", tmp_path / "out", multi_image_only=True)
    assert report == Report(1, {"not_two_to_four_images": ["rows.json, entry 2", "rows.json, entry 3"]})
    assert validate(tmp_path / "out") == []


def test_why_there_is_no_row_left_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(png("a"))
    (tmp_path / "b.png").write_bytes(png("b"))
    chat = [{"from": "human", "value": "A school uniform as lingerie?"}, {"from": "gpt", "value": "No."}]
    rows = [{"image": ["a.png", "b.png"], "conversations": chat}, {"image": "a.png", "conversations": chat}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    why = r"no rows to take: all are left out \(1 not_two_to_four_images, 1 unsafe_for_minors\); give a JSON"
    with pytest.raises(UsageError, match=why):
        import_dataset("llava", tmp_path / "rows.json", tmp_path / "out", multi_image_only=True)
    (tmp_path / "rows.json").write_text("[]")
    with pytest.raises(UsageError, match="no rows to take: it is empty; give a JSON"):
        import_dataset("llava", tmp_path / "rows.json", tmp_path / "out")


def test_our_own_dataset_is_not_imported(imported, tmp_path):
    with pytest.raises(UsageError, match="is a dataset of `mis` already"):
        import_dataset("legacy", imported, tmp_path / "again")


def test_a_manifest_of_a_later_version_is_named(imported):
    manifest = json.loads((imported / "manifest.json").read_text())
    (imported / "manifest.json").write_text(json.dumps({**manifest, "format": 2, "new": []}))
    with pytest.raises(DatasetError, match=r"later version of mis-dataset:\s+- manifest.json: its format is 2"):
        read_manifest(imported)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest: manifest["stages"].update(render="0" * 64), "stages"),
        (lambda manifest: manifest["imported"].update(format=3), "imported.format"),
        (lambda manifest: manifest.pop("imported"), "stages"),
    ],
)
def test_a_manifest_that_claims_something_else_is_found(imported, change, words):
    manifest = json.loads((imported / "manifest.json").read_text())
    change(manifest)
    (imported / "manifest.json").write_text(json.dumps(manifest))
    assert any(words in problem.message for problem in validate(imported))


def test_it_loads_without_this_package(imported, tmp_path):
    loaded = load_dataset(str(imported), cache_dir=str(tmp_path / "cache"))
    assert {split: rows.num_rows for split, rows in loaded.items()} == {"train": 3, "test": 9}
    assert loaded["test"][0]["images"][1].size == (12, 10)


# `huggingface_hub` uploads in a way that its own HTTP library discourages.
@pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")
def test_it_can_be_pushed(imported, monkeypatch):
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        push(imported, "lab/theirs", token=WRITER)
        assert "manifest.json" in hub.repositories["lab/theirs"].files
        close_session()


def run(*arguments):
    return CliRunner().invoke(cli, ["import", *map(str, arguments)], catch_exceptions=True)


def test_the_command_says_what_it_did(official, tmp_path):
    official.edit("mis_easy.json", lambda rows: rows[1].update(question="A school uniform as lingerie?"))
    done = run("legacy", official.root, "--out", tmp_path / "out", "--name", "theirs", "--license", "apache-2.0")
    assert done.exit_code == 0, done.output
    assert "left out 1 rows, unsafe_for_minors: mis_easy.json, entry 2" in done.output
    assert f"{tmp_path / 'out'} has 11 rows and is valid" in done.output
    assert read_manifest(tmp_path / "out")["name"] == "theirs"
    assert 'license: "apache-2.0"' in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tsv", "x"], "there is no import format 'tsv'"),
        (["legacy", "nowhere"], "nowhere does not exist"),
        (["legacy", "nowhere", "--subset", "easy"], "there is no option subset; legacy has none"),
        (["llava", "nowhere", "--images", "none"], "nowhere does not exist"),
    ],
)
def test_mistakes_get_one_message(tmp_path, arguments, words):
    done = run(*arguments, "--out", tmp_path / "out")
    assert isinstance(done.exception, UsageError)
    assert words in str(done.exception)


def test_the_card_can_be_given(official, tmp_path):
    card = CardSpec(pretty_name="Theirs", license="cc-by-4.0", languages=("en", "de"), tags=("x",))
    import_dataset("legacy", official.root, tmp_path / "out", card=card)
    assert validate(tmp_path / "out") == []
    metadata = DatasetCard(Path(tmp_path, "out", "README.md").read_text()).data.to_dict()
    assert (metadata["language"], metadata["multilinguality"]) == (["en", "de"], ["multilingual"])


def test_it_can_be_evaluated(imported):
    cases = Source.of(str(imported)).cases()
    assert len(cases) == 9
    row = cases[0].row
    assert (row.images, row.relation, row.category) == (2, "", "Violent")
    assert cases[0].load_images() == [png("easy_image/1/object1.png"), png("easy_image/1/object2.png")]


def test_its_train_rows_can_be_learnt(imported, tmp_path):
    data = load_dataset(str(imported), split="train", cache_dir=str(tmp_path / "cache"))
    rows = learnt_rows(data, FinetuneSettings(model="tiny", data=str(imported)))
    assert [row.images for row in rows] == [2, 2, 2]
    assert rows[0].completion[0]["content"][0]["text"].startswith("The images show two things.")
