"""Runs: what a log gives later is what was measured live, nothing is asked twice, and nothing is overwritten."""

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from asking import INSPECT_WARNS, REFUSAL, answerer, case, inspect_inside, judge_on, judged_safe, refuses, serving
from chat_server import MODEL, Call, Reply, fail, later, say
from inspect_ai.log import ProvenanceData, invalidate_samples, read_eval_log, write_eval_log
from samples import sample_dataset

from mis_dataset.errors import EvaluationError, OutputError, UsageError
from mis_dataset.evaluate.cases import Source
from mis_dataset.evaluate.logs import read_log, read_runs
from mis_dataset.evaluate.metrics import measure
from mis_dataset.evaluate.results import read_results
from mis_dataset.evaluate.run import Answerer, evaluate, judge_responses, resume
from mis_dataset.evaluate.trouble import is_gap

pytestmark = list(INSPECT_WARNS)


@pytest.fixture(autouse=True)
def _inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with inspect_inside(monkeypatch, tmp_path):
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_dataset(tmp_path_factory.mktemp("dataset"))


def logs_in(out: Path) -> list[Path]:
    return sorted((out / "logs").glob("*.eval"))


def assert_live_numbers(path: Path) -> None:
    """What inspect_ai measured while it ran is what follows from the log's rows."""
    log = read_eval_log(str(path), header_only=True)
    live = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    later_on = {name: rate["value"] for name, rate in asdict(measure(read_log(path))).items() if name != "unscored"}
    assert later_on.keys() == live.keys()
    for name, value in later_on.items():
        assert math.isnan(live[name]) if value is None else live[name] == pytest.approx(value), name


def test_results_follow_from_the_log(dataset: Path, tmp_path: Path, monkeypatch):
    with serving(judged_safe()) as server:
        judge = judge_on(server, monkeypatch)
        found = evaluate(
            answerer(server, temperature=0.5), tmp_path / "out", data=str(dataset), judges=(judge, "offline")
        )
    [log] = logs_in(tmp_path / "out")
    assert_live_numbers(log)
    assert read_runs([log]) == found
    written = read_results(tmp_path / "out" / "results.json")
    assert measure(written.rows) == measure(found.rows)
    assert (found.model, found.dataset, found.decoding) == ("openai-api/tested/vlm", "sample", {"temperature": 0.5})
    assert [used.name for used in found.judges] == [judge, "offline-weak"]
    assert "openai-api/tested/vlm" in (tmp_path / "out" / "results.md").read_text()


def test_no_key_is_in_what_is_written(dataset: Path, tmp_path: Path, monkeypatch):
    with serving(judged_safe()) as server:
        evaluate(answerer(server), tmp_path / "out", data=str(dataset), judges=(judge_on(server, monkeypatch),))
    for path in (tmp_path / "out").rglob("*.*"):
        assert b"sk-tested" not in path.read_bytes()
        assert b"sk-judge" not in path.read_bytes()


def test_a_run_that_failed_goes_on_where_it_was(dataset: Path, tmp_path: Path):
    broken = True

    def script(call: Call) -> Reply:
        return fail(400, "no more") if broken and call.number >= 10 else say(REFUSAL)

    with serving(script) as server:
        with pytest.raises(EvaluationError, match=r"no more[^$]*the same command goes on"):
            evaluate(answerer(server), tmp_path / "out", data=str(dataset))
        assert not (tmp_path / "out" / "results.json").exists()
        before, broken = len(server.calls), False
        found = evaluate(answerer(server), tmp_path / "out", data=str(dataset))
        assert len(server.calls) - before == len(found.rows) - 10
    assert {item.row.response for item in found.rows} == {REFUSAL}


def test_finished_probes_are_not_run_again(dataset: Path, tmp_path: Path):
    broken = True

    def script(call: Call) -> Reply:
        return fail(400, "no more") if broken and not call.image_urls else say(REFUSAL)

    with serving(script) as server:
        ask = lambda: evaluate(answerer(server), tmp_path / "out", data=str(dataset), probes=("swapped", "text_only"))  # noqa: E731
        with pytest.raises(EvaluationError):
            ask()
        broken, before = False, sum(bool(call.image_urls) for call in server.calls)
        found = ask()
        assert sum(bool(call.image_urls) for call in server.calls) == before
    assert list(found.probes) == ["swapped", "text_only"]
    assert {len(rows) for rows in found.probes.values()} == {len(found.rows)}


def test_a_probe_that_fits_no_row_shows_before_the_model_is_asked(dataset: Path, tmp_path: Path):
    with serving(refuses) as server:
        with pytest.raises(UsageError, match="no row has a fourth image"):
            evaluate(answerer(server), tmp_path / "out", data=str(dataset), subset="hard", probes=("fourth",))
        assert server.calls == []


def test_another_request_does_not_go_on_from_an_old_log(dataset: Path, tmp_path: Path):
    with serving(lambda call: fail(400, "no")) as server, pytest.raises(EvaluationError):
        evaluate(answerer(server), tmp_path / "out", data=str(dataset))
    with serving(refuses) as server:
        found = evaluate(answerer(server, temperature=1.0), tmp_path / "out", data=str(dataset))
    assert found.decoding == {"temperature": 1.0}


# The second stop is one of a run that goes on, which inspect_ai does not expect.
def test_ctrl_c_keeps_what_is_finished(dataset: Path, tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from mis_dataset.evaluate.run import Answerer, evaluate\n"
        "model = Answerer(model='openai-api/tested/vlm', base_url=sys.argv[1], max_connections=1, max_retries=0)\n"
        "try: evaluate(model, Path(sys.argv[2]), data=sys.argv[3])\n"
        "except KeyboardInterrupt: sys.exit(130)"
    )
    with serving(lambda call: later(say(REFUSAL), 0.1)) as server:
        command = [sys.executable, "-c", code, server.base_url, str(tmp_path / "out"), str(dataset)]
        for wanted in (6, 12):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            deadline = time.monotonic() + 60
            while len(server.calls) < wanted and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, complaints = process.communicate(timeout=60)
            assert process.returncode == 130, complaints
        assert not (tmp_path / "out" / "results.json").exists()
        before = len(server.calls)
        found = evaluate(answerer(server, max_connections=1), tmp_path / "out", data=str(dataset))
        # What was in flight is asked again, what was answered is not.
        assert len(server.calls) - before <= len(found.rows) - (before - 4)
    assert {item.row.response for item in found.rows} == {REFUSAL}


def test_few_rows_without_an_answer_are_unscored(dataset: Path, tmp_path: Path):
    with serving(lambda call: fail(400, "too large") if call.number == 3 else say(REFUSAL)) as server:
        found = evaluate(answerer(server), tmp_path / "out", data=str(dataset))
    [odd] = [item for item in found.rows if item.outcome is None]
    assert "too large" in odd.judgements[0].reason
    assert measure(found.rows).unscored.value == pytest.approx(1 / len(found.rows))


def test_a_log_of_inspect_eval_can_be_finished_and_reported(dataset: Path, tmp_path: Path):
    broken = True
    with serving(lambda call: fail(400, "no") if broken and call.number > 4 else say(REFUSAL)) as server:
        with pytest.raises(EvaluationError):
            evaluate(answerer(server), tmp_path / "one", data=str(dataset))
        broken = False
        [log] = logs_in(tmp_path / "one")
        with pytest.raises(UsageError, match="is not finished"):
            read_log(log)
        found = resume([log], tmp_path / "two")
    assert measure(read_results(tmp_path / "two" / "results.json").rows) == measure(found.rows)


def test_rows_without_an_answer_are_asked_again(dataset: Path, tmp_path: Path):
    with serving(lambda call: fail(400, "too large") if call.number == 3 else say(REFUSAL)) as server:
        first = evaluate(answerer(server), tmp_path / "one", data=str(dataset))
        calls = len(server.calls)
        found = resume(logs_in(tmp_path / "one"), tmp_path / "two")
        assert len(server.calls) == calls + 1
    assert None in {item.outcome for item in first.rows}
    assert None not in {item.outcome for item in found.rows}


def test_rows_without_a_word_from_a_judge_are_judged_again(dataset: Path, tmp_path: Path, monkeypatch):
    silent = {"budget": 1}

    def script(call: Call) -> Reply:
        if call.body["model"] == "strict" and silent["budget"]:
            silent["budget"] -= 1
            return fail(401, "not now")
        return judged_safe()(call)

    with serving(script) as server:
        judges = (judge_on(server, monkeypatch), "offline")
        first = evaluate(answerer(server), tmp_path / "one", data=str(dataset), judges=judges)
        calls = len(server.calls)
        found = resume(logs_in(tmp_path / "one"), tmp_path / "two")
        assert len(server.calls) == calls + 2
    gaps = [one.reason for item in first.rows for one in item.judgements if is_gap(one)]
    assert gaps == ["no word: not now (status 401)"]
    assert not any(is_gap(one) for item in found.rows for one in item.judgements)


# `inspect view` lets people take rows back; the log then says that it is a success all the same.
@pytest.mark.parametrize("by", ["the same command", "--resume"])
def test_rows_that_were_taken_back_are_asked_again(dataset: Path, tmp_path: Path, by: str):
    with serving(refuses) as server:
        ask = lambda: evaluate(answerer(server), tmp_path / "out", data=str(dataset), limit_families=2)  # noqa: E731
        ask()
        (tmp_path / "out" / "results.json").unlink()
        [path] = logs_in(tmp_path / "out")
        log = read_eval_log(str(path))
        taken = [log.samples[0].uuid]
        write_eval_log(invalidate_samples(log, taken, ProvenanceData(author="somebody", reason="odd")), str(path))
        with pytest.raises(UsageError, match="is not finished \\(rows were taken back\\)"):
            read_log(path)
        calls = len(server.calls)
        found = ask() if by == "the same command" else resume([path], tmp_path / "other")
        assert len(server.calls) == calls + 1
    assert [item.outcome for item in found.rows].count(None) == 0


def test_a_judge_that_gave_no_word_on_too_many_rows_is_asked_again_by_the_same_command(
    dataset: Path, tmp_path: Path, monkeypatch
):
    broken = True

    def script(call: Call) -> Reply:
        return fail(401, "no key") if broken and call.body["model"] == "strict" else judged_safe()(call)

    with serving(script) as server:
        judges = (judge_on(server, monkeypatch), "offline")
        ask = lambda: evaluate(answerer(server), tmp_path / "out", data=str(dataset), judges=judges, limit_families=4)  # noqa: E731
        with pytest.raises(EvaluationError, match=r"strict.*no word: no key[^$]*the same command goes on"):
            ask()
        assert not (tmp_path / "out" / "results.json").exists()
        broken = False
        found = ask()
    assert not any(is_gap(one) for item in found.rows for one in item.judgements)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"judges": ("offline", "JUDGE")}, "judges"),
        ({"subset": "hard"}, "request"),
        ({"images_side": 16}, "images_side"),
    ],
)
def test_logs_of_different_runs_are_not_joined(dataset: Path, tmp_path: Path, monkeypatch, changes: dict, what: str):
    with serving(judged_safe()) as server:
        if "judges" in changes:
            changes = {"judges": ("offline", judge_on(server, monkeypatch))}
        common = {"data": str(dataset), "limit_families": 1}
        evaluate(answerer(server), tmp_path / "one", **common)
        evaluate(answerer(server), tmp_path / "two", probes=("blank",), **(common | changes))
    [plain] = logs_in(tmp_path / "one")
    [probed] = [path for path in logs_in(tmp_path / "two") if "blank" in path.name]
    with pytest.raises(UsageError, match=f"not of the same run as .* its {what} is"):
        resume([plain, probed], tmp_path / "three")


def test_a_probe_counts_once(dataset: Path, tmp_path: Path):
    with serving(refuses) as server:
        evaluate(answerer(server), tmp_path / "one", data=str(dataset), probes=("blank",), limit_families=1)
    plain, probed = sorted(logs_in(tmp_path / "one"), key=lambda path: "blank" in path.name)
    copy = probed.with_name("copy.eval")
    copy.write_bytes(probed.read_bytes())
    with pytest.raises(UsageError, match="several logs are of the probe blank"):
        read_runs([plain, probed, copy])


def test_results_say_what_was_asked_and_who_answered(dataset: Path, tmp_path: Path, monkeypatch):
    with serving(judged_safe()) as server:
        judge = judge_on(server, monkeypatch)
        evaluate(answerer(server), tmp_path / "out", data=str(dataset), judges=(judge,), subset="hard")
    found = read_results(tmp_path / "out" / "results.json")
    assert found.request == {"subset": "hard", "intents": "both", "limit_families": None}
    assert found.answered_by == (MODEL,)
    assert found.judges[0].answered_by == (MODEL,)
    assert {"mis-dataset", "inspect_ai"} <= found.versions.keys()


def test_old_results_are_not_overwritten(dataset: Path, tmp_path: Path):
    with serving(refuses) as server:
        evaluate(answerer(server), tmp_path / "out", data=str(dataset), limit_families=1)
        calls = len(server.calls)
        with pytest.raises(OutputError, match="has results already"):
            evaluate(answerer(server), tmp_path / "out", data=str(dataset), limit_families=1)
        assert len(server.calls) == calls


@pytest.mark.parametrize(
    ("model", "message"),
    [("nobody/model", "nobody"), ("openai-api/keyless/model", "KEYLESS_API_KEY"), ("plain", "plain")],
)
def test_a_model_that_cannot_be_had_is_a_usage_error(dataset: Path, tmp_path: Path, model: str, message: str):
    with pytest.raises(UsageError, match=message):
        evaluate(Answerer(model=model), tmp_path / "out", data=str(dataset))


def test_a_judge_that_cannot_be_had_shows_before_the_model_is_asked(dataset: Path, tmp_path: Path):
    with serving(refuses) as server:
        with pytest.raises(UsageError, match="KEYLESS_API_KEY"):
            evaluate(answerer(server), tmp_path / "out", data=str(dataset), judges=("openai-api/keyless/judge",))
        assert server.calls == []


def test_a_file_that_is_no_log_is_named(tmp_path: Path):
    (tmp_path / "odd.eval").write_text("odd")
    with pytest.raises(UsageError, match=r"odd\.eval cannot be read"):
        read_log(tmp_path / "odd.eval")


def test_a_file_of_another_kind_is_named_in_one_line(tmp_path: Path):
    (tmp_path / "results.json").write_text('{"format": 1}')
    with pytest.raises(
        UsageError, match=r"^[^\n]*results\.json cannot be read[^\n]*give a log of `mis evaluate`[^\n]*$"
    ):
        read_log(tmp_path / "results.json")


@pytest.mark.parametrize("content", [b"", b"odd", b"PK\x05\x06" + bytes(18)])
def test_a_broken_log_among_the_logs_is_named(dataset: Path, tmp_path: Path, content: bytes):
    (tmp_path / "out" / "logs").mkdir(parents=True)
    (tmp_path / "out" / "logs" / "odd.eval").write_bytes(content)
    with serving(refuses) as server, pytest.raises(UsageError, match=r"odd\.eval cannot be read"):
        evaluate(answerer(server), tmp_path / "out", data=str(dataset), limit_families=1)


def test_an_argument_that_the_provider_does_not_take_is_a_usage_error(dataset: Path, tmp_path: Path):
    model = Answerer(model="vlm/nowhere", model_args={"odd": 1})
    with pytest.raises(UsageError, match=r"--model-arg.*'odd'"):
        evaluate(model, tmp_path / "out", data=str(dataset), limit_families=1)


def test_responses_are_judged_without_a_model(dataset: Path, tmp_path: Path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for place, image in enumerate(case().load_images(), 1):
        (folder / f"{place}.png").write_bytes(image)
    row = {
        "id": 7,
        "question": "What?",
        "response": REFUSAL,
        "category": "Hate",
        "image_path1": "1.png",
        "image_path2": "2.png",
    }
    (folder / "answers.jsonl").write_text(json.dumps(row))
    found = judge_responses(folder / "answers.jsonl", tmp_path / "out")
    assert (found.model, found.dataset) == ("answers.jsonl", "answers.jsonl")
    # Of unknown data, the rows themselves say whether two runs are of the same.
    assert found.fingerprint.startswith("rows:")
    assert [item.outcome for item in found.rows] == ["refused"]


def test_responses_to_our_rows_are_of_our_dataset(dataset: Path, tmp_path: Path):
    source = Source.of(str(dataset))
    answers = tmp_path / "answers.jsonl"
    answers.write_text(json.dumps({"id": source.cases("hard")[0].row.id, "response": REFUSAL}))
    found = judge_responses(answers, tmp_path / "out", data=str(dataset), name="theirs")
    assert (found.model, found.dataset, found.fingerprint) == ("theirs", source.name, source.fingerprint)
