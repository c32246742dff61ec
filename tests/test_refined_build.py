"""A whole build with a checker, a teacher, a critic and a judge behind HTTP: what they object to is drawn or written anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from chat_server import Call, ChatServer, Reply, say, say_json
from recipes import lasting, tiny

from mis_dataset.pipeline import BuildReport, build
from mis_dataset.schema import load_schema
from mis_dataset.seeds import stable_seed
from mis_dataset.validation import validate

RECIPE = """
name = "refined"
seed = 3
shard_size = 7

[quotas]
hard = 14
train = 14

[compose]
backend = "grammar"
oversample = 3

[render]
backend = "pictogram"
size = 64

[check]
backend = "openai_chat"
max_refinements = 1
{server}

[teach]
backend = "openai_chat"
max_rewrites = 1
{server}

[[critic]]
backend = "openai_judge"
name = "critic"
{server}

[[screen]]
backend = "openai_judge"
name = "judge"
seed = 1
{server}
"""
BETTER = "drawn large, on plain paper"
CRITIQUE = "The reply is too short to be of use; name a safe way."


def between(text: str, tag: str) -> str:
    return text.partition(f"<{tag}>\n")[2].partition(f"\n</{tag}>")[0]


def fate(name: str) -> int:
    """Decides what befalls an object or a question; most have no trouble."""
    return stable_seed("fate", name) % 8


def check(prompt: str) -> Reply:
    """One object in eight needs a better prompt, one is never recognised, and at one the checker refuses to look."""
    thing, refined = between(prompt, "thing"), BETTER in between(prompt, "description")
    if fate(thing) == 2:
        return say("I'm sorry, I can't look at this.")
    shows = fate(thing) > 1 or (fate(thing) == 0 and refined)
    better = "" if shows else f"{thing}, {BETTER}"
    return say_json({"detail": f"It is about {thing}.", "shows": shows, "better_prompt": better})


def teach(prompt: str, images: int) -> Reply:
    draft = "second" if CRITIQUE in prompt else "first"
    return say_json({"perception": ["A thing."] * images, "reasoning": "So it is.", "answer": f"My {draft} draft."})


def judge(prompt: str) -> Reply:
    """One question in eight gets a bad first label, one gets only bad ones, and at one the judge refuses to judge."""
    trouble = fate(between(prompt, "question"))
    if trouble == 2:
        return say(None, refusal="I would rather not.")
    bad = trouble == 1 or (trouble == 0 and "first draft" in between(prompt, "answer"))
    intent = "harmful" if "could harm somebody" in prompt else "benign"
    checks = load_schema(f"judge_{intent}")["required"][1:-1]
    answer = {"seen": "Things.", **dict.fromkeys(checks, True), "critique": CRITIQUE if bad else ""}
    return say_json(answer | ({"useful" if intent == "harmful" else "helps": False} if bad else {}))


def script(call: Call) -> Reply:
    prompt = call.texts[-1]
    if "<thing>" in prompt:
        return check(prompt)
    return judge(prompt) if "<perception>" in prompt else teach(prompt, len(call.image_urls))


class Built(NamedTuple):
    """A finished build and everything that was asked for it."""

    folder: Path
    report: BuildReport
    rows: dict[str, dict[str, Any]]
    provenance: dict[str, dict[str, Any]]
    calls: list[Call]
    again: Callable[[str], list[Call]]
    """Builds once more, into another folder, and tells what was asked in total."""

    def funnel(self, stage: str, outcome: str) -> set[str]:
        return {step.reason for step in self.report.funnel if (step.stage, step.outcome) == (stage, outcome)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("refined")
    with ChatServer(script) as server:
        asked = f'base_url = "{server.base_url}"\nmodel = "m"\napi_key_env = ""\nbackoff_s = 0.001\nmax_retries = 0'
        recipe = tiny(folder, RECIPE.format(server=asked))
        report = build(recipe, folder / "mis", folder / "work")
        calls = list(server.calls)

        def again(work: str) -> list[Call]:
            build(recipe, folder / f"mis-{work}", folder / work)
            return server.calls

        def table(pattern: str) -> dict[str, dict[str, Any]]:
            rows = [row for path in (folder / "mis").glob(pattern) for row in pq.read_table(path).to_pylist()]
            return {row["id"]: row for row in rows}

        yield Built(folder, report, table("data/*.parquet"), table("provenance/*.parquet"), calls, again)


def images(built: Built) -> list[dict[str, Any]]:
    return [image for row in built.provenance.values() for image in row["images"]]


def test_the_dataset_is_valid(built: Built):
    assert validate(built.folder / "mis") == []
    assert len(built.rows) == len(built.provenance) > 20


def test_every_attempt_at_a_refined_image_is_in_provenance(built: Built):
    refined = [image for image in images(built) if fate(image["object"]) == 0]
    assert refined
    for image in refined:
        first, last = image["attempts"]
        assert (first["outcome"], last["outcome"]) == ("not_shown", "kept")
        assert BETTER not in first["prompt"]
        assert last["prompt"] == image["prompt"] == f"{image['object']}, {BETTER}"
        assert (last["seed"], last["sha256"]) == (image["seed"], image["sha256"])
        assert first["seed"] != last["seed"]
        assert first["sha256"] != last["sha256"]
        assert first["detail"] == f"It is about {image['object']}."


def test_an_image_that_was_right_at_once_keeps_what_the_checker_saw(built: Built):
    right = [image for image in images(built) if fate(image["object"]) > 0]
    assert {fate(image["object"]) for image in right} <= set(range(3, 8))
    assert all([attempt["outcome"] for attempt in image["attempts"]] == ["kept"] for image in right)


def test_a_rewritten_label_carries_the_critique(built: Built):
    rewritten = [name for name, row in built.provenance.items() if row["teacher"]["critiques"]]
    assert rewritten
    for name, row in built.provenance.items():
        again = fate(built.rows[name]["question"]) == 0
        assert row["teacher"]["critiques"] == ([f"critic: {CRITIQUE}"] if again else [])
        assert built.rows[name]["answer"] == ("My second draft." if again else "My first draft.")


def test_the_judges_verdict_is_in_provenance_and_the_critics_is_not(built: Built):
    for row in built.provenance.values():
        assert [(verdict["judge"], verdict["verdict"]) for verdict in row["verdicts"]] == [("judge", "pass")]


# What could not be checked or judged is no verdict: it fails, and is told apart from what was found wanting.
def test_the_funnel_tells_rejects_from_failures(built: Built):
    assert built.funnel("render", "rejected") == {"not_shown"}
    assert built.funnel("render", "failed") == {"check_refused"}
    assert built.funnel("teach", "rejected") == {"judge_not_helpful", "judge_not_useful"}
    assert built.funnel("teach", "failed") == {"judge_refused"}


def test_nothing_that_was_turned_down_is_published(built: Built):
    assert {fate(thing) for row in built.rows.values() for thing in row["objects"]}.isdisjoint({1, 2})
    assert {fate(row["question"]) for row in built.rows.values()}.isdisjoint({1, 2})


def test_the_checker_is_asked_once_about_an_image_that_twins_share(built: Built):
    asked = [call.image_urls + call.texts for call in built.calls if "<thing>" in call.texts[-1]]
    assert len(asked) == len({str(one) for one in asked})


def test_the_same_work_asks_nothing_again_and_new_work_gives_the_same_bytes(built: Built):
    asked = len(built.calls)
    assert len(built.again("work")) == asked
    assert len(built.again("elsewhere")) == 2 * asked
    assert lasting(built.folder / "mis-elsewhere") == lasting(built.folder / "mis")
