"""Whole builds in rounds: a quota that is short is met later, and nothing else changes."""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from chat_server import ChatServer
from composing_model import WORDS, model, said, write_seeds
from lab import seen
from recipes import contents, tiny, tiny_text
from test_pipeline import Notes

from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.errors import MisError, OutputError
from mis_dataset.pipeline import BuildReport, build
from mis_dataset.recipe import Recipe
from mis_dataset.run.state import BuildState, stage_folder
from mis_dataset.validation import validate

SHORT = "hard", "Drug-Related Offenses"
"""The cell of which few rows are accepted; the tiny recipe wants three."""
ROUNDS = 6


def picky(folder: Path, rounds: int = ROUNDS, *, run: str = "", **tuning: object) -> Recipe:
    """The tiny recipe with a screener that is hard to please in one cell and writes down what it sees."""
    tuning = {"log": str(folder / "seen.txt"), **tuning}
    lines = "\n".join(f"{key} = {value!r}" for key, value in tuning.items())
    screen = f'\n[[screen]]\nbackend = "lab:Picky"\nsub_category = "{SHORT[1]}"\nshare = 0.2\n{lines}'
    return tiny(folder, f"{tiny_text(run=run, screen=screen)}\n[limits]\nmax_rounds = {rounds}\n")


class Done(NamedTuple):
    folder: Path
    report: BuildReport
    notes: Notes

    @property
    def dataset(self) -> dict[str, bytes]:
        return contents(self.folder / "mis")

    @property
    def harmful(self) -> Counter[tuple[str, str]]:
        """Published harmful rows by cell."""
        assert self.report.split is not None
        rows = self.report.split.rows
        return Counter((row.subset, row.sub_category) for row in rows if row.intent == "harmful")

    def composed(self, number: int) -> Counter[tuple[str, str]]:
        """Harmful scenarios that a round composed, by cell."""
        scenarios = [item["record"] for item in self.items("compose", number) if item["record"]]
        return Counter((one["subset"], one["sub_category"]) for one in scenarios if one["intent"] == "harmful")

    def items(self, stage: str, number: int) -> list[dict[str, Any]]:
        """What a stage made of its items in a round."""
        work = self.folder / "work"
        folder = stage_folder(work, stage, BuildState.load(work, self.folder / "mis").rounds[number][stage])
        return [item for shard in sorted(folder.glob("shard-*.parquet")) for item in pq.read_table(shard).to_pylist()]


def built(folder: Path, recipe: Recipe) -> Done:
    notes = Notes()
    return Done(folder, build(recipe, folder / "mis", folder / "work", reporter=notes), notes)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The dataset, built in one go."""
    folder = tmp_path_factory.mktemp("rounds")
    return built(folder, picky(folder))


def test_a_quota_that_the_first_round_misses_is_met_exactly(reference: Done):
    assert 2 <= reference.report.rounds < ROUNDS
    assert reference.report.split.shortfalls == {}
    assert reference.harmful == {cell: wanted for cell, (wanted, _) in reference.report.split.quotas.items()}
    assert validate(reference.folder / "mis") == []


def test_later_rounds_compose_for_the_cells_that_are_short_alone(reference: Done):
    rounds = [reference.composed(number) for number in range(reference.report.rounds)]
    assert rounds[0].keys() == reference.report.split.quotas.keys()
    for later in rounds[1:]:
        assert later.keys() == {SHORT}


def test_no_row_is_worked_on_twice(reference: Done):
    rows = seen(reference.folder / "seen.txt")
    assert len(rows) == len(set(rows))


def test_each_further_round_is_said_with_what_is_missing(reference: Done):
    said_of = [note for note in reference.notes.notes if note.startswith("round ")]
    assert len(said_of) == reference.report.rounds - 1
    assert all("rows are missing (hard / Drug-Related Offenses" in note for note in said_of)


def test_the_dataset_says_how_many_rounds_it_took(reference: Done):
    rounds = reference.report.rounds
    assert read_manifest(reference.folder / "mis")["rounds"] == rounds
    assert f"Families were composed in {rounds} rounds" in reference.dataset["README.md"].decode()


def test_the_funnel_counts_the_rows_of_all_rounds(reference: Done):
    funnel = {(step.stage, step.outcome, step.reason): step.count for step in reference.report.funnel}
    rows = len(seen(reference.folder / "seen.txt"))
    assert funnel["compose", "accepted", ""] == funnel["teach", "accepted", ""] == rows
    assert funnel["screen", "accepted", ""] + funnel["screen", "rejected", "unlucky"] == rows


@pytest.mark.parametrize("size", [1, 5])
def test_bytes_do_not_depend_on_the_shard_size(tmp_path: Path, reference: Done, size: int):
    assert built(tmp_path, picky(tmp_path, run=f"shard_size = {size}")).dataset == reference.dataset


def test_a_build_that_is_interrupted_in_a_later_round_goes_on(tmp_path: Path, reference: Done):
    first = {item["id"] for item in reference.items("screen", 0)}
    with pytest.raises(MisError, match="stumbles"):
        built(tmp_path, picky(tmp_path, run="shard_size = 1", stops_after=len(first) + 3))
    assert not (tmp_path / "mis").exists()
    assert len(BuildState.load(tmp_path / "work", tmp_path / "mis").rounds) == 2
    assert built(tmp_path, picky(tmp_path, run="shard_size = 1")).dataset == reference.dataset
    # The family at which it stumbled is all that was screened again.
    again = {row for row, times in Counter(seen(tmp_path / "seen.txt")).items() if times > 1}
    assert 1 <= len(again) <= 2
    assert not again & first


def test_one_round_leaves_the_shortfall(tmp_path: Path):
    done = built(tmp_path, picky(tmp_path, rounds=1))
    assert done.report.rounds == 1
    assert done.report.split.shortfalls.keys() == {SHORT}
    assert done.harmful.total() == 9 - sum(wanted - got for wanted, got in done.report.split.shortfalls.values())
    card = done.dataset["README.md"].decode()
    assert "Families were composed in 1 round;" in card
    assert "| hard | Drug-Related Offenses | 3 | " in card


def test_more_rounds_go_on_in_the_same_place_with_what_is_there(tmp_path: Path, reference: Done):
    built(tmp_path, picky(tmp_path, rounds=1))
    first = seen(tmp_path / "seen.txt")
    assert built(tmp_path, picky(tmp_path)).dataset == reference.dataset
    # What the first round screened, nobody screened again.
    rows = seen(tmp_path / "seen.txt")
    assert rows[: len(first)] == first
    assert len(rows) == len(set(rows))
    assert rows == seen(reference.folder / "seen.txt")


@pytest.mark.parametrize(
    ("rounds", "change", "why"),
    [
        (ROUNDS - 1, ("", ""), f"holds this dataset with limits.max_rounds = {ROUNDS}; name as many"),
        (ROUNDS + 1, ("seed = 11", "seed = 12"), "holds another dataset"),
        (ROUNDS + 1, ("share = 0.2", "share = 0.3"), "holds another dataset"),
        # What is done to the rows after the first round's stages counts just as much.
        (ROUNDS + 1, ("[split]", "[split]\nmax_same_question = 3"), "holds another dataset"),
    ],
    ids=["fewer rounds", "another seed", "another screener", "another split"],
)
def test_nothing_but_the_same_with_more_rounds_takes_a_datasets_place(
    tmp_path: Path, rounds: int, change: tuple[str, str], why: str
):
    built(tmp_path, picky(tmp_path))
    before = contents(tmp_path / "mis")
    picky(tmp_path, rounds)
    with pytest.raises(OutputError, match=re.escape(why)):
        built(tmp_path, tiny(tmp_path, (tmp_path / "recipe.toml").read_text().replace(*change)))
    assert contents(tmp_path / "mis") == before


def test_a_dataset_carries_how_many_rounds_its_recipe_allows(reference: Done):
    assert tomllib.loads(reference.dataset["recipe.toml"].decode())["limits"] == {"max_rounds": ROUNDS}


def test_a_composer_that_has_no_more_stops_the_rounds(tmp_path: Path):
    # Two families a cell: the cells that want three will never have them, however many rounds there may be.
    text = tiny_text().replace('backend = "grammar"', 'backend = "lab:Few"\nfamilies = 2')
    done = built(tmp_path, tiny(tmp_path, text + "\n[limits]\nmax_rounds = 50\n"))
    assert done.report.split.shortfalls == {SHORT: (3, 2)}
    assert done.report.rounds == 2
    assert done.composed(1) == {}


CONCURRENCY = 2


def test_rounds_of_a_composing_model_count_every_seed_and_every_answer_once(tmp_path: Path):
    # "Maple" is not harmful in any round; of the others, the screener likes few.
    harmless = said("keep", harmful=False)
    script = model(keep=lambda word: (harmless if word == "maple" else said("keep"))(word))
    with ChatServer(script) as server:
        text = f"""
name = "composed"
seed = 3
[quotas]
hard = {{ "Property Crimes" = 4 }}
[compose]
backend = "openai_chat"
base_url = "{server.base_url}"
model = "m"
api_key_env = ""
seeds = "{write_seeds(tmp_path, len(WORDS))}"
max_pair_repeats = 50
max_retries = 0
concurrency = {CONCURRENCY}
[render]
backend = "lab:Accelerated"
[teach]
backend = "template"
[[screen]]
backend = "lab:Picky"
sub_category = "Property Crimes"
share = 0.3
[split]
max_same_question = 50
"""
        done = built(tmp_path, tiny(tmp_path, text))
    assert done.report.rounds > 1
    composed = {(step.outcome, step.reason): step.count for step in done.report.funnel if step.stage == "compose"}
    # In the end there was room for all: each seed is a row and its twin, and none is still said to be not wanted.
    assert composed == {("accepted", ""): 2 * (len(WORDS) - 1), ("rejected", "not_harmful"): 1}
    # Every answer counts once; asked again is at most what was in flight when a round had enough.
    asked = Counter(json.dumps(call.body) for call in server.calls)
    (spent,) = (cost for cost in done.report.spent if cost.stage == "compose")
    assert spent.requests == len(asked)
    assert asked.total() - len(asked) <= CONCURRENCY * (done.report.rounds - 1)
