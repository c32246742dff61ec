"""A whole build in the paper's shape, from `paper.toml` itself, with every model played by one server behind HTTP.

The quotas are scaled down, and pictograms take the place of diffusion. In mid-build the server goes away four times.
"""

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow.parquet as pq
import pytest
import tomli_w
from chat_server import Call, ChatServer
from playing_server import (
    ALARMS,
    BETTER,
    COMPOSING,
    CRITIQUE,
    DISPUTED,
    LOSING,
    MENDED,
    ON_THE_WAY,
    TWINLESS,
    WEAK,
    Player,
    Seed,
    make_world,
    write_seeds,
)
from recipes import contents, lasting

import mis_dataset  # noqa: F401 - lets load_dataset find "mis"
from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.errors import ServerUnreachableError
from mis_dataset.pipeline import BuildReport, build
from mis_dataset.recipe import load_recipe
from mis_dataset.resources import resource
from mis_dataset.taxonomy import taxonomy
from mis_dataset.validation import validate

KEY = "sk-very-secret"
DEATHS = {"rewrite": 30, "check": 150, "teach": 100, "grade": 500}
"""The roles in whose work the server goes away, and after how many requests."""

Row = dict[str, Any]


def paper() -> Row:
    """The recipe of the paper with one row for every 120, drawn as small icons; `test_real_build` has the photographs."""
    data = tomllib.loads(resource("builder_scripts", "paper.toml").read_text("utf-8"))
    del data["real"], data["quotas"]["real"]
    data["quotas"] = {
        subset: {name: ceil(rows / 120) for name, rows in table.items()} for subset, table in data["quotas"].items()
    }
    data["render"] = {"backend": "pictogram", "size": 64}
    # Small icons resemble each other, and how much is up to the drawing library's version.
    data["split"]["image_distance"] = 0
    return data | {"shard_size": 40}


def point_at(data: Row, base_url: str) -> None:
    """Have every model of a recipe asked at the same address, and asked again without long pauses."""
    for table in (data["compose"], data["check"], data["teach"], *data["critic"], *data["screen"]):
        if "base_url" in table:
            table |= {"base_url": base_url, "backoff_s": 0.001, "patience_s": 0.2}
    data["check"]["timeout_s"] = 1.0


class Built(NamedTuple):
    """A finished build and what it took."""

    folder: Path
    quotas: dict[tuple[str, str], int]
    report: BuildReport
    rows: dict[str, Row]
    provenance: dict[str, Row]
    queue: list[Row]
    world: list[Seed]
    troubles: Counter[str]
    answered: Counter[str]
    """How often each request was answered until the dataset was complete."""
    calls: list[Call]
    again: Callable[[str], list[Call]]
    """Builds once more, with a work folder of one's choice, and tells all that was asked until then."""

    def steps(self) -> set[tuple[str, str, str]]:
        return {(step.stage, step.outcome, step.reason) for step in self.report.funnel}

    def seed(self, row: Row) -> Seed:
        return next(seed for seed in self.world if f"At {seed.place}, " in row["question"])

    def fated(self, trouble: str) -> list[Row]:
        """The harmful rows in whose making something went wrong."""
        return [row for row in self.rows.values() if row["intent"] == "harmful" and self.seed(row).trouble == trouble]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder, data = tmp_path_factory.mktemp("paper"), paper()
    quotas = {(subset, name): rows for subset, table in data["quotas"].items() for name, rows in table.items()}
    world = make_world(quotas, data["compose"]["oversample"])
    data["compose"]["seeds"] = str(folder / "seeds.jsonl")
    write_seeds(world, folder / "seeds.jsonl")
    player = Player(world)
    with ChatServer(player) as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OPENAI_API_KEY", KEY)
        environment.setenv("NO_PROXY", "127.0.0.1")
        point_at(data, server.base_url)
        (folder / "paper.toml").write_text(tomli_w.dumps(data), "utf-8")
        recipe = load_recipe(folder / "paper.toml")

        def again(work: str) -> list[Call]:
            build(recipe, folder / f"mis-{work}", folder / work)
            return server.calls

        for role, requests in DEATHS.items():
            player.die_at(role, requests)
            with pytest.raises(ServerUnreachableError):
                build(recipe, folder / "mis", folder / "work")
            assert not (folder / "mis").exists()
        player.live()
        report = build(recipe, folder / "mis", folder / "work")

        def table(pattern: str) -> dict[str, Row]:
            rows = [row for path in sorted((folder / "mis").glob(pattern)) for row in pq.read_table(path).to_pylist()]
            return {row["id"]: row for row in rows}

        (queue,) = (folder / "work").glob("review-*.jsonl")
        yield Built(
            folder=folder,
            quotas=quotas,
            report=report,
            rows=table("data/*.parquet"),
            provenance=table("provenance/*.parquet"),
            queue=[json.loads(line) for line in queue.read_text("utf-8").splitlines()],
            world=world,
            troubles=player.troubles.copy(),
            answered=player.answered.copy(),
            calls=list(server.calls),
            again=again,
        )


# The dataset


def test_it_is_valid_and_meets_every_quota(built: Built):
    assert validate(built.folder / "mis") == []
    harmful = [row for row in built.rows.values() if row["intent"] == "harmful"]
    assert Counter((row["subset"], row["sub_category"]) for row in harmful) == built.quotas
    assert set(built.quotas) == {
        (subset, name) for subset in ("train", "easy", "hard") for name in taxonomy().sub_categories
    }
    assert built.report.split.shortfalls == {}
    assert len(built.rows) >= 120


def test_it_loads(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("mis", data_dir=str(built.folder / "mis"))
    assert {row["id"] for split in loaded.values() for row in split} == built.rows.keys()
    assert loaded["train"][0]["images"][0].size == (64, 64)


def test_twins_follow_their_rows_and_show_one_thing_else(built: Built):
    twins = [row for row in built.rows.values() if row["intent"] == "benign"]
    assert len(twins) > len(built.rows) / 3
    for twin in twins:
        row = built.rows[twin["twin_id"]]
        assert (row["twin_id"], row["subset"], row["question"]) == (twin["id"], twin["subset"], twin["question"])
        assert [a == b for a, b in zip(row["objects"], twin["objects"], strict=True)].count(False) == 1


# What went wrong, and what became of it


def test_everything_that_can_go_wrong_did(built: Built):
    assert {seed.trouble for seed in built.world} >= {*COMPOSING, *LOSING, *MENDED, *TWINLESS, ALARMS}
    assert built.troubles.keys() >= {*ON_THE_WAY, "too late"}


def test_the_funnel_tells_every_reason(built: Built):
    wanted = {("compose", "rejected", reason) for reason in COMPOSING.values()} | {*LOSING.values(), *TWINLESS.values()}
    # A seed without text, a seed that comes twice, and seeds for which there is no room any more.
    wanted |= {("compose", "rejected", reason) for reason in ("no_text", "similar_question", "not_wanted")}
    assert wanted <= built.steps()
    # The server's trouble was waited out: no row was lost by it.
    assert {step for step in built.steps() if step[1] == "failed"} == {s for s in LOSING.values() if s[1] == "failed"}


def test_manifest_and_card_show_the_funnel(built: Built):
    found = read_manifest(built.folder / "mis")["funnel"]
    assert {(step["stage"], step["outcome"], step["reason"]) for step in found} == built.steps()
    card = (built.folder / "mis" / "README.md").read_text("utf-8")
    for stage in ("compose", "render", "teach", "screen", "route", "split"):
        (line,) = [line for line in card.splitlines() if line.startswith(f"| {stage} | ") and line.count("|") == 6]
        for step in built.report.funnel:
            assert step.stage != stage or f"{step.reason} {step.count}".strip() in line


def test_what_was_lost_is_not_published(built: Built):
    assert {built.seed(row).trouble for row in built.rows.values()}.isdisjoint({*COMPOSING, *LOSING})
    assert all(built.fated(trouble) for trouble in (*MENDED, *TWINLESS))
    assert all(row["twin_id"] is None for trouble in TWINLESS for row in built.fated(trouble))


def test_refined_images_show_both_attempts(built: Built):
    for row in built.fated("shows at last"):
        first, last = built.provenance[row["id"]]["images"][0]["attempts"]
        assert (first["outcome"], last["outcome"]) == ("not_shown", "kept")
        assert last["prompt"] == f"{row['objects'][0]}, {BETTER}" != first["prompt"]
        assert first["sha256"] != last["sha256"]


def test_rewritten_labels_show_their_critique(built: Built):
    for row in built.fated("drafts twice"):
        (critique,) = built.provenance[row["id"]]["teacher"]["critiques"]
        assert CRITIQUE in critique
        assert WEAK not in row["answer"]


def test_grades_show_who_could_not_judge(built: Built):
    for trouble, reason in {
        "one cannot judge": "A blur.",
        "one declines to judge": "refused",
        "one babbles": "malformed",
    }.items():
        for row in built.fated(trouble):
            rules, first, second = built.provenance[row["id"]]["verdicts"]
            assert [verdict["judge"] for verdict in (rules, first, second)] == ["rules", "gpt-4o", "internvl"]
            assert first["grades"][-1]["verdict"] == "unsafe"
            assert second["grades"][-1]["verdict"] == "cannot_judge"
            assert reason in second["grades"][-1]["reason"]


def test_origins_show_seed_and_wordings(built: Built):
    texts = [json.loads(line)["text"] for line in (built.folder / "seeds.jsonl").read_text("utf-8").splitlines()]
    for name, row in built.rows.items():
        origin, seed = built.provenance[name]["origin"], built.seed(row)
        assert texts[int(origin["row"])] == origin["seed_text"] == seed.text
        assert all(thing in origin["raw"] for thing in seed.things)
        assert origin["rewritten"] == row["question"]


def test_disputed_families_wait_for_review_whole(built: Built):
    troubles = Counter(built.seed(entry).trouble for entry in built.queue)
    assert troubles.keys() == set(DISPUTED)
    count = next(step.count for step in built.report.funnel if step.reason == "experts_disagree")
    assert len(built.queue) == count
    assert not {entry["id"] for entry in built.queue} & built.rows.keys()
    # Both rows of a family are there, the harmful one first.
    for family in {entry["family"] for entry in built.queue}:
        assert [e["intent"] for e in built.queue if e["family"] == family] == ["harmful", "benign"]


def test_experts_move_what_alarms_them(built: Built):
    moved = built.fated(ALARMS)
    assert {row["subset"] for row in moved} == {"easy"}
    assert all(built.seed(row).subset == "hard" for row in moved)


def test_agreement_is_told_of_words_images_and_both(built: Built):
    found = {kind["target"]: kind for kind in read_manifest(built.folder / "mis")["agreement"]}
    assert found.keys() == {"question", "image", "together"}
    assert all(0 < kind["kappa"] < 1 for kind in found.values())


# The server


def test_a_server_that_goes_away_costs_next_to_nothing(built: Built):
    paid_again = sum(count - 1 for count in built.answered.values() if count > 1)
    # At most what was in flight whenever it went away.
    assert paid_again <= 32 * len(DEATHS)
    assert len(built.answered) > 2000


def test_the_key_goes_where_it_belongs_and_nowhere_else(built: Built):
    for call in built.calls:
        expected = KEY if call.body["model"].startswith("gpt-4o") else "none"
        assert call.headers["authorization"] == f"Bearer {expected}"
    assert not any(KEY.encode() in data for data in contents(built.folder / "mis").values())


def test_the_same_work_asks_nothing_again_and_new_work_gives_the_same_bytes(built: Built):
    asked = len(built.calls)
    assert len(built.again("work")) == asked
    assert lasting(built.folder / "mis-work") == lasting(built.folder / "mis")
    # Nobody disturbs this one: going away and coming back left no trace.
    assert len(built.again("elsewhere")) > asked
    assert lasting(built.folder / "mis-elsewhere") == lasting(built.folder / "mis")
