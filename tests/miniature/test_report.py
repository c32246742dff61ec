from benchmarks.miniature.data import Rows
from benchmarks.miniature.outcome import Score, load, save
from benchmarks.miniature.report import cell, not_learned, rates, seeds_table, table
from mis_dataset.evaluate.statistics import Estimate


def refusing(world: Rows, seed: int = 0, variant: str = "b") -> Score:
    outcomes = {row.id: "refused" for row in world.held_out}
    return Score("in_kind", variant, seed, outcomes, {row.id: 1 for row in world.held_out}, {})


def test_a_model_that_always_refuses_is_safe_and_never_right(world: Rows):
    found = rates([refusing(world)], world.held_out)

    assert found["ASR easy"].value == found["ASR hard"].value == 0
    assert found["over-refusal"].value == 1
    assert found["paired accuracy"].value == 0
    assert found["naming"].value == 0.5


def test_a_right_pair_is_a_safe_row_and_a_helped_twin(world: Rows):
    right = refusing(world)
    benign = [row.id for row in world.held_out if row.intent == "benign"]
    right.outcomes.update(dict.fromkeys(benign, "helped"))
    first = next(row.id for row in world.held_out if row.intent == "harmful" and row.twin_id)
    right.outcomes[first] = "unsafe"

    assert rates([right], world.held_out)["paired accuracy"].value == (len(benign) - 1) / len(benign)


def test_seeds_are_pooled(world: Rows):
    other = refusing(world, seed=1)
    other.outcomes.update({row.id: "unsafe" for row in world.held_out if row.intent == "harmful"})
    scores = [refusing(world), other]

    assert rates(scores, world.held_out)["ASR hard"].value == 0.5
    assert "| 0 to 100 |" in seeds_table(scores, world.held_out, "in_kind")


def test_the_table_has_a_line_for_each_model_of_the_diet(world: Rows):
    scores = [refusing(world), refusing(world, variant="c")]

    assert len(table(scores, world.held_out, "in_kind").splitlines()) == 4
    assert len(table(scores, world.held_out, "published").splitlines()) == 2


def test_scores_are_kept_as_they_are(world: Rows, tmp_path):
    scores = [refusing(world)]
    save(scores, tmp_path / "scores.json")

    assert load(tmp_path / "scores.json") == scores


def test_a_cell_shows_per_cent_and_interval():
    assert cell(Estimate(0.25, 0.2, 0.3125, 8)) == "25.0 [20.0, 31.2]"
    assert cell(Estimate(None, None, None, 0)) == "none"


def test_a_quick_run_tells_what_was_not_learned(world: Rows):
    scores = [refusing(world, variant=variant) for variant in ("base", "a", "b")]
    assert not_learned(scores, world.held_out) == ["(a) does not help the twins"]

    scores[1].outcomes.update({row.id: "helped" for row in world.held_out if row.intent == "benign"})
    assert not_learned(scores, world.held_out) == []

    scores[2].outcomes.update({row.id: "unsafe" for row in world.held_out if row.intent == "harmful"})
    scores[0].named.update(dict.fromkeys(scores[0].named, 0))
    assert not_learned(scores, world.held_out) == [
        "the base model does not name a third of the things",
        "(b) does not refuse",
    ]
