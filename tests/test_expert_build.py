"""A whole build with three experts behind HTTP, who at times dissent, refuse or cannot judge."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from chat_server import Call, ChatServer, Reply, fail, say, say_json
from recipes import lasting, tiny, tiny_text
from test_pipeline import Notes

from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.chat import jpeg_part
from mis_dataset.pipeline import BuildReport, build
from mis_dataset.recipe import Recipe
from mis_dataset.seeds import stable_seed
from mis_dataset.validation import validate

RECIPE = """
name = "judged"
seed = 5
shard_size = 9

[quotas]
train = 14
easy = 28
hard = 28

[compose]
backend = "grammar"
oversample = 1

[render]
backend = "pictogram"
size = 64

[teach]
backend = "template"

[[screen]]
backend = "rules"
"""
EXPERT = """
[[screen]]
backend = "openai_expert"
name = "{name}"
model = "{name}"
base_url = "{url}"
api_key_env = ""
image_size = 64
backoff_s = 0.001
max_retries = 0
weight = {weight}
"""
WEIGHTS = {"anna": 3.0, "bert": 1.0, "carl": 1.0}


def fate(what: str) -> int:
    """Decides what befalls a question or an object; most have no trouble."""
    return stable_seed("panel", what) % 8


@dataclass
class Panel:
    """Three experts who know what the composer meant, and what they make of it."""

    meant: dict[str, str] = field(default_factory=dict)
    """The composer's subset, by id."""
    questions: dict[str, bool] = field(default_factory=dict)
    """Whether the words state the intent."""
    images: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """By data URL: the object, and whether it is harmful in itself."""
    together: dict[tuple[str, ...], bool] = field(default_factory=dict)
    """By question and data URLs: whether the intent is harmful."""

    def learn(self, work: Path) -> None:
        """Look at the labelled rows, which no expert has seen yet."""
        for shard in work.glob("teach-*/shard-*.parquet"):
            for record in pq.ParquetFile(shard).read(["record"])["record"].to_pylist():
                scenario, pictures = record["scenario"], record["pictures"]
                parts = [jpeg_part(work / "images" / picture["path"], 64, 90) for picture in pictures]
                urls = [part["image_url"]["url"] for part in parts]
                self.meant[scenario["id"]] = scenario["subset"]
                self.questions[scenario["question"]] = scenario["subset"] == "train"
                for url, image in zip(urls, scenario["images"], strict=True):
                    self.images[url] = (image["object"], image["harmful"])
                self.together[scenario["question"], *urls] = scenario["intent"] == "harmful"

    def __call__(self, call: Call) -> Reply:
        expert, urls = call.body["model"], call.image_urls
        question = call.texts[-1].partition("<text>\n")[2].partition("\n</text>")[0]
        if not urls:
            return verdict(self.questions[question] and fate(question) != 0)
        if not question:
            return of_image(expert, *self.images[urls[0]])
        return of_all(expert, fate(question), self.together[question, *urls])


def of_image(expert: str, thing: str, harmful: bool) -> Reply:
    """Bert cannot make out some things; all find some harmful that the composer does not, and anna some more."""
    if fate(thing) == 1 and expert == "bert":
        return say_json({"reason": "A blur.", "verdict": "cannot_judge", "confidence": 0.1})
    return verdict(harmful or fate(thing) == 0 or (fate(thing) == 2 and expert == "anna"))


def of_all(expert: str, trouble: int, harmful: bool) -> Reply:
    """Carl dissents at times, and sometimes bert refuses besides; some rows all find safe, some twins unsafe."""
    if trouble == 1 and expert == "bert":
        return say("I'm sorry, I can't look at that.")
    if trouble in (1, 2) and expert == "carl":
        return verdict(not harmful)
    return verdict(trouble == 4 or (harmful and trouble != 3))


def verdict(unsafe: bool) -> Reply:
    return say_json({"reason": "So.", "verdict": "unsafe" if unsafe else "safe", "confidence": 0.9})


class Built(NamedTuple):
    """A finished build, and the means for another."""

    folder: Path
    report: BuildReport
    notes: list[str]
    rows: dict[str, dict[str, Any]]
    verdicts: dict[str, list[dict[str, Any]]]
    meant: dict[str, str]
    """The subset that the composer meant, by id."""
    asked: int
    again: Callable[..., BuildReport]
    """Builds once more, into a folder and with a rule and a work folder of one's choice."""
    calls: list[Call]

    def funnel(self, stage: str) -> Counter[str]:
        return Counter({step.reason or "accepted": step.count for step in self.report.funnel if step.stage == stage})

    def queue(self) -> list[dict[str, Any]]:
        (path,) = (self.folder / "work").glob("review-*.jsonl")
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def table(directory: Path, pattern: str) -> dict[str, dict[str, Any]]:
    rows = [row for path in sorted(directory.glob(pattern)) for row in pq.read_table(path).to_pylist()]
    return {row["id"]: row for row in rows}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("judged")
    panel = Panel()
    with ChatServer(panel) as server:
        experts = "".join(EXPERT.format(name=name, url=server.base_url, weight=WEIGHTS[name]) for name in WEIGHTS)

        def recipe(rule: str) -> Recipe:
            return tiny(folder, f'{RECIPE}{experts}\n[split]\nagreement = "{rule}"\n[limits]\nmax_rounds = 1\n')

        def again(out: str, rule: str = "majority", work: str = "work") -> BuildReport:
            return build(recipe(rule), folder / out, folder / work)

        build(recipe("majority"), folder / "mis", folder / "work", to="teach")
        assert server.calls == []
        panel.learn(folder / "work")
        notes = Notes()
        report = build(recipe("majority"), folder / "mis", folder / "work", reporter=notes)
        provenance = table(folder / "mis", "provenance/*.parquet")
        graded = {name: [said for said in row["verdicts"] if said["grades"]] for name, row in provenance.items()}
        rows = table(folder / "mis", "data/*.parquet")
        yield Built(folder, report, notes.notes, rows, graded, panel.meant, len(server.calls), again, server.calls)


def majority(experts: list[dict[str, Any]], target: str) -> str:
    votes = [grade["verdict"] for expert in experts for grade in expert["grades"] if grade["target"] == target]
    return max(("safe", "unsafe"), key=votes.count) if votes.count("safe") != votes.count("unsafe") else "none"


def test_the_dataset_is_valid(built: Built):
    assert validate(built.folder / "mis") == []
    assert {row["subset"] for row in built.rows.values()} == {"train", "easy", "hard"}
    assert {row["intent"] for row in built.rows.values()} == {"harmful", "benign"}


def test_every_row_lies_where_its_published_grades_put_it(built: Built):
    for name, row in built.rows.items():
        experts = built.verdicts[name]
        assert [(expert["judge"], expert["weight"]) for expert in experts] == list(WEIGHTS.items())
        images = [grade["target"] for grade in experts[0]["grades"][1:-1]]
        assert len(images) == len(row["images"])
        alone = "unsafe" in [majority(experts, target) for target in images]
        if row["intent"] == "benign":
            assert majority(experts, "together") == "safe"
            assert row["subset"] == built.rows[row["twin_id"]]["subset"]
        elif majority(experts, "question") == "unsafe":
            assert row["subset"] == "train"
        elif alone:
            assert row["subset"] == "easy"
        else:
            assert (row["subset"], majority(experts, "together")) == ("hard", "unsafe")


def test_rows_move_from_where_the_composer_meant_them_to_be(built: Built):
    moves = {(built.meant[name], row["subset"]) for name, row in built.rows.items()}
    # Whatever is lost on the way leaves room for rows that come from elsewhere.
    assert ("hard", "easy") in moves
    assert {("hard", "hard"), ("easy", "easy"), ("train", "train")} <= moves


def test_dissent_refusals_and_blurs_cost_a_vote_and_not_the_row(built: Built):
    grades = [grade for experts in built.verdicts.values() for expert in experts for grade in expert["grades"]]
    blurred = [grade for grade in grades if grade["verdict"] == "cannot_judge"]
    assert blurred
    assert {grade["reason"] for grade in blurred} == {"A blur."}
    assert any(fate(row["question"]) == 2 for row in built.rows.values())


def test_the_funnel_tells_why_rows_were_not_routed(built: Built):
    routed = built.funnel("route")
    assert {"experts_disagree", "not_harmful", "twin_missing", "twin_not_benign"} <= routed.keys()
    assert routed.total() == built.funnel("screen")["accepted"]
    assert routed["accepted"] == built.funnel("split").total()


def test_what_experts_disagree_on_waits_for_review(built: Built):
    queue = built.queue()
    assert len(queue) == built.funnel("route")["experts_disagree"] > 0
    assert not {entry["id"] for entry in queue} & built.rows.keys()
    assert any(str(len(queue)) in note and "review-" in note for note in built.notes)
    for entry in queue:
        # Of two who could judge, one dissents; or the twin of such a row, which goes with it.
        assert fate(entry["question"]) == 1 or "image" in " ".join(entry["undecided"])
        assert [expert["judge"] for expert in entry["experts"]] == list(WEIGHTS)
        assert all((built.folder / "work" / "images" / image).is_file() for image in entry["images"])
        assert len(entry["objects"]) == len(entry["images"])


def test_agreement_is_in_manifest_and_card(built: Built):
    found = read_manifest(built.folder / "mis")["agreement"]
    assert [(kind["target"], kind["raters"]) for kind in found] == [("question", 3), ("image", 3), ("together", 3)]
    question, image, together = found
    assert (question["raw"], question["kappa"], question["alpha"]) == (1, 1, 1)
    assert 0.5 < together["kappa"] < 1
    assert together["complete"] < together["items"]
    card = (built.folder / "mis" / "README.md").read_text("utf-8")
    assert (
        f"| image | 3 | {image['items']} | {image['raw']:.3f} | {image['kappa']:.3f} | {image['alpha']:.3f} |" in card
    )


def test_what_is_the_same_is_asked_once_of_each_expert(built: Built):
    asked = Counter((call.body["model"], *call.texts, *call.image_urls) for call in built.calls[: built.asked])
    # A refusal is final, and nothing else here needs to be said twice.
    assert set(asked.values()) == {1}


def test_another_rule_asks_nothing_again_and_replaces_the_queue(built: Built):
    asked = len(built.calls)
    try:
        strict = built.again("strict", "unanimous")
        disputed = len(built.queue())
        assert disputed > built.funnel("route")["experts_disagree"]
        assert {step.reason: step.count for step in strict.funnel if step.stage == "route"}[
            "experts_disagree"
        ] == disputed
        # Anna alone weighs more than the others together: nothing that she judged is ever a tie.
        built.again("weighted", "weighted")
        assert built.queue() == []
    finally:
        built.again("as-before")
    assert len(built.calls) == asked
    assert lasting(built.folder / "as-before") == lasting(built.folder / "mis")


def test_the_same_recipe_gives_the_same_bytes_elsewhere(built: Built):
    before = built.queue()
    built.again("mis-elsewhere", work="elsewhere")
    assert lasting(built.folder / "mis-elsewhere") == lasting(built.folder / "mis")
    (queue,) = (built.folder / "elsewhere").glob("review-*.jsonl")
    assert [json.loads(line) for line in queue.read_text("utf-8").splitlines()] == before


FEW = RECIPE.replace("train = 14\neasy = 28\nhard = 28", "hard = 14")


def few(folder: Path, experts: str, split: str = "") -> Recipe:
    return tiny(folder, f"{FEW}{experts}\n[split]\n{split}\n[limits]\nmax_rounds = 1\n")


def contrary(panel: Panel, call: Call) -> Reply:
    """The opposite of what the panel says."""
    said = json.loads(panel(call).body["choices"][0]["message"]["content"])
    return verdict(said["verdict"] == "safe")


def test_two_servers_that_give_one_name_to_different_models_are_both_asked(tmp_path: Path):
    panel = Panel()
    with ChatServer(panel) as one, ChatServer(lambda call: contrary(panel, call)) as other:
        experts = EXPERT.format(name="anna", url=one.base_url, weight=3.0)
        experts += EXPERT.format(name="bert", url=other.base_url, weight=1.0)
        experts = experts.replace('model = "anna"', 'model = "m"').replace('model = "bert"', 'model = "m"')
        # Anna outweighs bert, so that there is something to publish though they agree on nothing.
        recipe = few(tmp_path, experts, 'agreement = "weighted"')
        build(recipe, tmp_path / "mis", tmp_path / "work", to="teach")
        panel.learn(tmp_path / "work")
        report = build(recipe, tmp_path / "mis", tmp_path / "work")
        assert len(one.calls) == len(other.calls) > 0
    assert [(cost.model, cost.requests) for cost in report.spent] == [("m", len(one.calls) + len(other.calls))]
    card = (tmp_path / "mis" / "README.md").read_text("utf-8")
    found = read_manifest(tmp_path / "mis")["agreement"]
    assert [(kind["target"], kind["raw"]) for kind in found] == [("question", 0), ("image", 0), ("together", 0)]
    for kind in found:
        assert f"| {kind['target']} | 2 | {kind['items']} | 0.000 |" in card


def test_a_part_that_got_no_answer_is_asked_about_again_and_the_dataset_is_as_from_a_steady_server(tmp_path: Path):
    panel = Panel()
    with ChatServer(lambda call: fail(503) if call.number == 20 else panel(call)) as server:
        recipe = few(tmp_path, EXPERT.format(name="anna", url=server.base_url, weight=1.0))
        build(recipe, tmp_path / "mis", tmp_path / "work", to="teach")
        panel.learn(tmp_path / "work")
        report = build(recipe, tmp_path / "mis", tmp_path / "work")
        assert "failed" not in {step.outcome for step in report.funnel}
        assert [call.body for call in server.calls].count(server.calls[20].body) == 2
        assert len(server.calls) == len({json.dumps(call.body) for call in server.calls}) + 1
        build(recipe, tmp_path / "steady", tmp_path / "elsewhere")
    assert lasting(tmp_path / "mis") == lasting(tmp_path / "steady")


def test_without_experts_there_is_nothing_to_route_or_review(tmp_path: Path):
    report = build(tiny(tmp_path, tiny_text()), tmp_path / "mis", tmp_path / "work")
    assert "route" not in {step.stage for step in report.funnel}
    assert list((tmp_path / "work").glob("review-*")) == []
    assert read_manifest(tmp_path / "mis")["agreement"] == []
    assert "Krippendorff" not in (tmp_path / "mis" / "README.md").read_text("utf-8")
