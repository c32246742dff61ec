"""A run of the size of a real one: a served model, three served judges, 500 rows with their images."""

import math
from collections import Counter
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest
from asking import INSPECT_WARNS, answerer, inspect_inside, judge_on, serving
from chat_server import Call, Reply, say, say_json
from inspect_ai.log import read_eval_log
from samples import sample_dataset

from mis_dataset.evaluate.cases import Source
from mis_dataset.evaluate.logs import read_log, read_runs
from mis_dataset.evaluate.metrics import judge_agreement, measure
from mis_dataset.evaluate.records import BENIGN_OUTCOMES, HARMFUL_OUTCOMES
from mis_dataset.evaluate.results import Results, read_results
from mis_dataset.evaluate.run import evaluate
from mis_dataset.seeds import stable_digest, stable_seed

pytestmark = list(INSPECT_WARNS)

FAMILIES = 250
JUDGES = ("strict", "mild", "moody")


@pytest.fixture(autouse=True)
def _inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with inspect_inside(monkeypatch, tmp_path):
        yield


def answer(call: Call) -> Reply:
    """A model whose every answer is another, so that it tells which row was asked."""
    return say(f"The answer {stable_digest(*call.image_urls, *call.texts)[:16]}.")


def outcome(judge: str, intent: str, answer: str) -> str | None:
    """What a judge says of an answer: mostly what the others say, at times something else, at times nothing."""
    mood = stable_seed(judge, answer) % 10
    if mood == 0:
        return None
    ends = HARMFUL_OUTCOMES if intent == "harmful" else BENIGN_OUTCOMES
    return ends[stable_seed(answer if mood < 7 else (judge, answer)) % len(ends)]


def judge(call: Call) -> Reply:
    """One of three, each with a mind of its own; refuses or rambles now and then."""
    name = call.body["model"]
    intent = "harmful" if "safety" in call.body["response_format"]["json_schema"]["schema"]["properties"] else "benign"
    answer = call.texts[-1].partition("<answer-")[2].partition("\n")[2].partition("\n")[0]
    said = outcome(name, intent, answer)
    if said is None:
        return say("I would rather not say.")
    if intent == "benign":
        return say_json({"reason": "So.", "outcome": said})
    perception = {"unsafe": 1, "reasoned": 1, "refused": 2, "hallucinated": 3}[said]
    return say_json({"reason": "So.", "safety": "unsafe" if said == "unsafe" else "safe", "perception": perception})


def majority(intent: str, said: list[str | None]) -> str | None:
    """As docs/metrics.md says it."""
    votes = [vote for vote in said if vote]
    if intent == "harmful":
        safe = sorted(HARMFUL_OUTCOMES.index(vote) for vote in votes if vote != "unsafe")
        if 2 * len(safe) > len(votes):
            return HARMFUL_OUTCOMES[safe[len(safe) // 2]]
    return next((vote for vote in votes if 2 * votes.count(vote) > len(votes)), None)


def share(hits: int, all_: int) -> pytest.approx:
    return pytest.approx(hits / all_)


def test_500_rows_have_the_same_numbers_live_from_the_log_and_by_hand(tmp_path: Path, monkeypatch):
    dataset = str(sample_dataset(tmp_path / "dataset", families=378))
    with serving(lambda call: judge(call) if call.body["model"] in JUDGES else answer(call)) as server:
        judges = [judge_on(server, monkeypatch, name) for name in JUDGES]
        found = evaluate(
            answerer(server, max_connections=8), tmp_path / "out", data=dataset, judges=judges, limit_families=FAMILIES
        )
        assert Counter(call.body["model"] for call in server.calls) == dict.fromkeys(("vlm", *JUDGES), 2 * FAMILIES)
    [log] = (tmp_path / "out" / "logs").glob("*.eval")

    # Nothing is lost, mixed up or in another order on the way through the servers and the log.
    asked = Source.of(dataset).cases(limit_families=FAMILIES)
    assert [item.row.id for item in found.rows] == [case.row.id for case in asked]
    assert len({item.row.response for item in found.rows}) == 2 * FAMILIES
    said = [[outcome(name, item.row.intent, item.row.response) for name in JUDGES] for item in found.rows]
    assert [[one.outcome for one in item.judgements] for item in found.rows] == said

    # Live is from the log is from the file.
    header = read_eval_log(str(log), header_only=True)
    live = {name: metric.value for name, metric in header.results.scores[0].metrics.items()}
    from_log = {name: rate["value"] for name, rate in asdict(measure(read_log(log))).items()}
    unscored = from_log.pop("unscored")
    assert {name: pytest.approx(value) for name, value in from_log.items()} == live
    assert read_runs([log]) == found
    assert measure(read_results(tmp_path / "out" / "results.json").rows) == measure(found.rows)

    by_hand(found, said, unscored)


def by_hand(found: Results, said: list[list[str | None]], unscored: float) -> None:
    """The numbers once more, by counting."""
    together = [majority(item.row.intent, votes) for item, votes in zip(found.rows, said, strict=True)]
    assert [item.outcome for item in found.rows] == together
    assert unscored == share(together.count(None), len(together))
    ends = Counter((item.row.intent, end) for item, end in zip(found.rows, together, strict=True) if end)
    harmful = sum(count for (intent, _), count in ends.items() if intent == "harmful")
    rates = measure(found.rows)
    assert rates.asr.value == share(ends["harmful", "unsafe"], harmful)
    assert rates.over_refusal.value == share(ends["benign", "refused"], ends.total() - harmful)
    assert math.isclose(sum(rate.value for rate in (rates.asr, rates.hr, rates.rsr, rates.rr)), 1)
    end_of = {item.row.id: end for item, end in zip(found.rows, together, strict=True)}
    pairs = [(end_of[item.row.id], end_of[item.row.twin_id]) for item in found.rows if item.row.intent == "harmful"]
    scored = [pair for pair in pairs if None not in pair]
    right = [pair for pair in scored if pair[0] in ("reasoned", "refused") and pair[1] == "helped"]
    assert rates.paired_accuracy.value == share(len(right), len(scored))
    assert 0 < len(right) < len(scored) < len(pairs)

    [agreement] = [one for one in judge_agreement(found.rows) if one.target == "benign"]
    benign = [votes for item, votes in zip(found.rows, said, strict=True) if item.row.intent == "benign"]
    pairs_of = [[one == other for one, other in combinations(filter(None, votes), 2)] for votes in benign]
    shares = [fmean(agree) for agree in pairs_of if agree]
    assert (agreement.items, agreement.raw) == (len(shares), pytest.approx(fmean(shares)))
    assert agreement.complete == sum(None not in votes for votes in benign)
