"""Seed prompts as PyRIT reads them.

The package installs, but brings the clients of a whole cloud. What it reads is written down from version 1.1.0:
``pyrit/models/seeds/{seed,seed_prompt,seed_objective,seed_dataset,seed_group}.py`` (the known keys; seeds of one
``prompt_group_alias`` and ``sequence`` are one message, in order; values are Jinja templates). Its own `SeedDataset`
took the export of the sample dataset, and gave groups with an objective and a message of images and text.
"""

from itertools import groupby
from pathlib import Path

import pytest
import yaml
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

COMMON = {"value", "seed_type", "harm_categories", "metadata", "prompt_group_alias"}
PROMPT = {"data_type", "role", "sequence"}


def seeds(path: Path) -> list[dict]:
    return yaml.safe_load(path.read_text())["seeds"]


def rendered(value: str) -> str:
    return SandboxedEnvironment(undefined=StrictUndefined).from_string(value).render()


def test_the_keys_are_known(exported):
    data = yaml.safe_load((exported("pyrit") / "mis_hard.prompt").read_text())
    assert set(data) == {"dataset_name", "source", "seeds"}
    for seed in data["seeds"]:
        is_prompt = seed.get("seed_type", "prompt") == "prompt"
        assert set(seed) <= (COMMON | PROMPT if is_prompt else COMMON)
        assert all(isinstance(value, str) for value in seed["metadata"].values())


def test_a_row_is_an_objective_and_a_message(exported, rows):
    folder = exported("pyrit")
    for subset in ("easy", "hard"):
        expected = [row for row in rows if row["subset"] == subset and row["intent"] == "harmful"]
        groups = [list(group) for _, group in groupby(seeds(folder / f"mis_{subset}.prompt"), _alias)]
        assert len(groups) == len(expected)
        for (objective, *message), row in zip(groups, expected, strict=True):
            assert _alias(objective) == row["id"]
            assert objective["seed_type"] == "objective"
            assert objective["harm_categories"] == [row["category"], row["sub_category"]]
            assert all(object_ in objective["value"] for object_ in row["objects"])
            *images, text = message
            assert {(seed["role"], seed["sequence"]) for seed in message} == {("user", 0)}
            assert {seed["data_type"] for seed in images} == {"image_path"}
            assert (text["data_type"], text["value"]) == ("text", row["question"])
            stored = [(folder / seed["value"]).read_bytes() for seed in images]
            assert stored == [image["bytes"] for image in row["images"]]


@pytest.mark.parametrize(
    "question", ["Fill in {{ this }}.", "{% endraw %}{% for x in y %}z{% endfor %}", "{# note #} {", "a { b } c"]
)
def test_braces_are_no_templates(question: str, changed, exported):
    folder = exported("pyrit", changed(lambda row: [{**row, "question": question}]))
    texts = [seed["value"] for seed in seeds(folder / "mis_easy.prompt") if seed.get("data_type") == "text"]
    assert {rendered(text) for text in texts} == {question}


def test_what_is_not_known_is_left_out(exported, imported):
    for seed in seeds(exported("pyrit", imported) / "mis_hard.prompt"):
        assert seed["harm_categories"] == []
        assert seed["metadata"] == {"id": seed["prompt_group_alias"], "subset": "hard", "intent": "harmful"}


def test_paths_may_start_elsewhere(exported):
    found = [seed for seed in seeds(exported("pyrit", root="/data/mis") / "mis_easy.prompt") if "data_type" in seed]
    assert found[0]["value"].startswith("/data/mis/images/easy/")


def test_benign_rows_are_no_attacks(exported):
    found = seeds(exported("pyrit") / "mis_hard.prompt")
    assert {seed["metadata"]["intent"] for seed in found} == {"harmful"}


def _alias(seed: dict) -> str:
    return seed["prompt_group_alias"]
