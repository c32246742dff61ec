"""The card: valid metadata, and numbers that are those of the data."""

import json
import re
from dataclasses import replace

import pytest
from huggingface_hub import DatasetCard
from samples import draw, sample_facts, sample_rows

from mis_dataset.agreement import Agreement
from mis_dataset.assemble import assemble
from mis_dataset.assemble.card import data_metadata, read_metadata
from mis_dataset.assemble.parquet import FileSize
from mis_dataset.recipe import CardSpec


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    return sample_rows(folder, 12), folder


@pytest.fixture(scope="module")
def card(rows, tmp_path_factory):
    return _card(rows, tmp_path_factory.mktemp("out"))


def _card(rows, folder, change=lambda row: row, **facts):
    records = [change(row) for row in rows[0]]
    assemble(records, replace(sample_facts(records), **facts), rows[1], folder / "mis")
    return (folder / "mis" / "README.md").read_text()


def _table(card, first_cell):
    """The cells of the table whose head begins with ``first_cell``, without the head."""
    lines = card.split(f"| {first_cell} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_hub_library_reads_the_metadata(card):
    data = DatasetCard(card).data.to_dict()
    assert data["license"] == "cc-by-4.0"
    assert data["language"] == ["en"]
    assert data["size_categories"] == ["n<1K"]
    assert data["task_categories"] == ["visual-question-answering", "image-text-to-text"]
    assert {"not-for-all-audiences", "multi-image", "safety", "red-teaming", "synthetic"} <= set(data["tags"])


# What the library writes back must be what it read, or an edit in the browser would lose something.
def test_the_metadata_survives_a_round_trip_through_the_hub_library(card):
    assert read_metadata(str(DatasetCard(card))) == read_metadata(card)


def test_the_card_asks_readers_to_agree(card):
    gate = {"extra_gated_heading", "extra_gated_prompt", "extra_gated_fields", "extra_gated_button_content"}
    assert gate <= read_metadata(card).keys()


def test_what_the_recipe_says_of_the_card_is_taken(rows, tmp_path):
    spec = CardSpec(pretty_name='Mine: "quoted"', license="mit", languages=("en", "de"), tags=("pictograms", "safety"))
    data = read_metadata(_card(rows, tmp_path, card=spec))
    assert (data["pretty_name"], data["license"], data["language"]) == ('Mine: "quoted"', "mit", ["en", "de"])
    assert data["tags"].count("safety") == 1
    assert "pictograms" in data["tags"]


def test_configs_without_rows_are_left_out(card):
    names = [config["config_name"] for config in read_metadata(card)["configs"]]
    assert names == ["default", "easy", "hard", "provenance"]


def test_the_metadata_has_no_yaml_anchors(card):
    assert "&id" not in card.split("---\n")[1]


@pytest.mark.parametrize(
    ("rows", "category"), [(999, "n<1K"), (1_000, "1K<n<10K"), (99_999, "10K<n<100K"), (2_000_000, "1M<n<10M")]
)
def test_the_size_category_follows_from_the_rows(rows, category):
    files = [FileSize("data/train-00000-of-00001.parquet", rows, 10, 5)]
    assert data_metadata(files)["size_categories"] == [category]


def test_rows_of_provenance_do_not_count_as_rows():
    files = [FileSize(f"{folder}/train-00000-of-00001.parquet", 600, 10, 5) for folder in ("data", "provenance")]
    assert data_metadata(files)["size_categories"] == ["n<1K"]


def test_splits_are_summed_over_their_files():
    files = [FileSize(f"data/test-{part}-00000-of-00001.parquet", 3, 10, 5) for part in ("easy", "hard")]
    info = data_metadata(files)["dataset_info"][0]
    assert info["splits"] == [{"name": "test", "num_bytes": 20, "num_examples": 6}]
    assert (info["download_size"], info["dataset_size"]) == (10, 20)


def test_the_tables_add_up(card, rows):
    records = rows[0]
    subsets = _table(card, "subset")
    assert [row[0] for row in subsets] == ["train", "easy", "hard"]
    assert sum(int(row[4]) for row in subsets) == len(records)
    assert sum(int(row[2]) for row in subsets) == sum(row.scenario.intent == "harmful" for row in records)
    assert sum(int(row[-1]) for row in _table(card, "category")) == len(records)
    assert sum(int(row[-1]) for row in _table(card, "how the images combine")) == len(records)
    assert {row[0]: int(row[1]) for row in _table(card, "images in a row")} == {"2": 12, "3": 6, "4": 4}


def test_rows_of_unknown_sub_categories_stay_with_their_categories(rows, tmp_path):
    def coarse(row):
        return replace(row, scenario=replace(row.scenario, sub_category=""))

    table = {row[0]: int(row[-1]) for row in _table(_card(rows, tmp_path, coarse), "category")}
    categories = [row.scenario.category for row in rows[0]]
    assert table == {category: categories.count(category) for category in categories}


def test_the_share_of_twins_is_told(card):
    assert "10 of 12 harmful rows (83.3%) have a benign twin." in card


def test_the_funnel_is_told_with_its_reasons(card):
    stages = {row[0]: row[1:] for row in _table(card, "stage | accepted")} or {}
    assert stages["render"] == ["25", "2", "0", "blank 2"]
    assert stages["teach"] == ["24", "0", "1", "timed_out 1"]


def test_shortfalls_are_told(card, rows, tmp_path):
    assert "| easy | Unauthorized Data Collection | 3 | 2 |" in card
    assert "Every quota of the recipe was met." in _card(rows, tmp_path, quotas=())


def test_the_example_is_a_row_of_the_data(card, rows):
    shown = json.loads(card.split("```json\n")[1].split("\n```")[0])
    record = next(row for row in rows[0] if row.scenario.id == shown["id"])
    assert (record.scenario.subset, record.scenario.intent) == ("hard", "harmful")
    assert shown["question"] == record.scenario.question
    assert shown["answer"] == record.label.answer


def test_text_of_the_data_cannot_break_out_of_the_example(rows, tmp_path):
    def evil(row):
        return replace(row, label=replace(row.label, answer="```\n# Owned\n<script>{{ card }}"))

    block = _card(rows, tmp_path, evil).split("```json\n")[1].split("\n```")[0]
    assert json.loads(block)["answer"] == "```\n# Owned\n<script>{{ card }}"


def test_pictograms_and_templates_are_owned_up_to(card, rows, tmp_path):
    assert "are pictograms" in card
    assert "written from templates" in card

    def drawn(row):
        pictures = tuple(
            draw(rows[1], f"{row.scenario.id}/{n}", "a thing", model="sd") for n in range(len(row.pictures))
        )
        return replace(row, pictures=pictures, label=replace(row.label, teacher="a-model"))

    other = _card(rows, tmp_path, drawn)
    assert "are pictograms" not in other
    assert "written from templates" not in other


def test_the_paper_is_cited(card):
    assert "2501.18533" in card
    assert "Ding, Yi and Li, Lijun and Cao, Bing and Shao, Jing" in card


@pytest.mark.parametrize("text", ["# no metadata", "---\na: [\n---\n", "---\n- a\n---\n"])
def test_a_card_without_metadata_is_reported(text):
    with pytest.raises(ValueError, match="YAML"):
        read_metadata(text)


def test_agreement_is_told_where_there_are_experts(card, rows, tmp_path):
    found = (Agreement("question", 3, 20, 18, 0.9, 0.51234, None), Agreement("together", 3, 0, 0, None, None, None))
    table = _table(_card(rows, tmp_path, agreement=found), "graded")
    assert table == [["question", "3", "20", "0.900", "0.512", "-"], ["together", "3", "0", "-", "-", "-"]]
    assert "| graded |" not in card
