"""Running evaluations with inspect_ai; the results are read from its logs, see `mis_dataset.evaluate.logs`.

Every run is one log. One that was interrupted goes on from there: rows that were answered and judged are not asked
about again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import inspect_ai
from inspect_ai import Task
from inspect_ai._util.error import PrerequisiteError  # it has no public name
from inspect_ai.log import EvalLog, ProvenanceData
from inspect_ai.model import get_model
from rich.text import Text

from mis_dataset.errors import EvaluationError, OutputError, StorageError, UsageError
from mis_dataset.evaluate import tasks
from mis_dataset.evaluate.cases import PROBES, Intents, Probe, Source, TestSubset
from mis_dataset.evaluate.leaderboard import leaderboard_markdown
from mis_dataset.evaluate.logs import check_one_run, is_finished, open_log, read_header, read_log, read_runs
from mis_dataset.evaluate.offline import OFFLINE
from mis_dataset.evaluate.probes import applies
from mis_dataset.evaluate.results import Results, write_results
from mis_dataset.evaluate.trouble import NO_WORD, brief, is_gap
from mis_dataset.options import content_digest
from mis_dataset.seeds import stable_digest

Display = Literal["full", "rich", "plain", "none"]
"""How inspect_ai shows what goes on."""

RESULTS = "results.json"
TABLES = "results.md"
_LOGS = "logs"

_FAILING_SHARE = 0.1
"""A run in which a larger share of rows gets no answer, or no word from a judge, fails; fewer are unscored."""


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """The model that is evaluated, and how it is asked."""

    model: str
    """As inspect_ai names it: ``openai/gpt-4o``, ``openai-api/NAME/MODEL`` with ``base_url``, ``vlm/PATH``."""
    base_url: str | None = None
    """Where it is served, if not where its provider is."""
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    max_connections: int | None = None
    """Requests in flight; None: inspect_ai adapts to what the server bears."""
    max_retries: int = 5
    model_args: Mapping[str, Any] = field(default_factory=dict)
    """For the provider, such as ``device`` for ``vlm``; they are logged, so keys do not belong here."""

    @property
    def decoding(self) -> dict[str, Any]:
        """What is set of how answers are sampled."""
        settings = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        return {key: value for key, value in settings.items() if value is not None}


def evaluate(
    answerer: Answerer,
    out: Path,
    *,
    data: str | None = None,
    subset: TestSubset = "test",
    intents: Intents = "both",
    judges: Sequence[str] = (OFFLINE,),
    probes: Sequence[Probe] | Literal["all"] = (),
    images_side: int | None = None,
    limit_families: int | None = None,
    log_dir: Path | None = None,
    display: Display = "none",
) -> Results:
    """Put a dataset's rows to a model and its answers to judges; write ``results.json`` and ``results.md``.

    Called again after an interruption, it goes on. For the arguments see `mis_dataset.evaluate.tasks.mis`.

    Args:
        answerer: the model.
        out: a folder that has no results yet.
        data: the dataset's directory.
        subset: which rows.
        intents: which of them.
        judges: who judges.
        probes: in which other ways to show the same rows, one run each; ``all``: in all that apply to any row.
        images_side: the longest side of an image in pixels.
        limit_families: so many families at most.
        log_dir: where logs go; None: ``logs`` in ``out``.
        display: how progress is shown.

    Raises:
        UsageError: the request, or a key that it needs, is wrong.
        OutputError: ``out`` has results already.
        EvaluationError: too many rows got no answer, or no word from a judge.
        KeyboardInterrupt: it was interrupted.
    """
    _refuse_old_results(out)
    judges = tasks.named_judges(judges)
    _check_judges(judges)
    if probes == "all":
        sizes = {case.row.images for case in Source.of(data).cases(subset, intents, limit_families)}
        probes = [probe for probe in PROBES if any(applies(probe, size) for size in sizes)]
    wanted: dict[str, Any] = {
        "data": str(Path(data).resolve()) if data else None,
        "subset": subset,
        "intents": intents,
        "judge": list(judges),
        "images_side": images_side,
        "limit_families": limit_families,
    }
    wanted_ones = [{**wanted, "probe": probe} for probe in (None, *dict.fromkeys(probes))]
    # All are made before the first is run, for a probe may fit no row.
    runs = [(tasks.mis(**arguments), [arguments, str(out.resolve())]) for arguments in wanted_ones]
    return _publish([_run(*run, answerer, log_dir or out / _LOGS, display) for run in runs], out)


def judge_responses(
    file: Path,
    out: Path,
    *,
    data: str | None = None,
    images: Path | None = None,
    judges: Sequence[str] = (OFFLINE,),
    images_side: int | None = None,
    name: str | None = None,
    log_dir: Path | None = None,
    display: Display = "none",
) -> Results:
    """Put answers that were given elsewhere to judges; for the arguments see `mis_dataset.evaluate.tasks.responses`.

    Raises:
        UsageError: the file cannot be read, or the request is wrong.
        DatasetError: the file's rows are broken; all problems are listed.
        OutputError: ``out`` has results already.
        EvaluationError: too many rows got no word from a judge.
        KeyboardInterrupt: it was interrupted.
    """
    _refuse_old_results(out)
    judges = tasks.named_judges(judges)
    _check_judges(judges)
    arguments: dict[str, Any] = {
        "file": str(file.resolve()),
        "data": str(Path(data).resolve()) if data else None,
        "images": str(images.resolve()) if images else None,
        "judge": list(judges),
        "images_side": images_side,
        "name": name,
    }
    task, what = tasks.responses(**arguments), [arguments, content_digest(file), str(out.resolve())]
    return _publish([_run(task, what, Answerer(model="none"), log_dir or out / _LOGS, display)], out)


def resume(logs: Sequence[Path], out: Path, *, display: Display = "none") -> Results:
    """Finish the runs of these logs, those of ``inspect eval`` too, and write the results.

    Rows that got no answer, or no word from a judge, are asked about again; of finished rows nothing is. New logs lie
    beside the old ones.

    Raises:
        UsageError: a file is no log of ours, or the logs are not of one run and its probes.
        OutputError: ``out`` has results already.
        EvaluationError: too many rows got no answer, or no word from a judge.
        KeyboardInterrupt: it was interrupted.
    """
    _refuse_old_results(out)
    headers = {path: read_header(path) for path in logs}
    check_one_run(headers)
    finished = []
    for path, header in headers.items():
        whole = is_finished(header) and not _has_gaps(path)
        finished.append(path if whole else _retry(path, header.eval.model_base_url, display))
    return _publish(finished, out)


def _run(task: Task, what: Sequence[Any], answerer: Answerer, log_dir: Path, display: Display) -> Path:
    """The finished log of a task: found, finished or made. ``what`` tells it from tasks that ask for something else."""
    settings = [answerer.model, answerer.decoding, dict(answerer.model_args), task.metadata, *what]
    request = stable_digest(json.dumps(settings, sort_keys=True))
    found = _logs_of(log_dir, request)
    done = [path for path, is_done in found if is_done]
    if done and not _failing(done[0]):
        return done[0]
    if found:
        return _retry(found[0][0], answerer.base_url, display)
    with _translating():
        logs = inspect_ai.eval(
            task,
            model=answerer.model,
            model_base_url=answerer.base_url,
            model_args=dict(answerer.model_args),
            log_dir=str(log_dir),
            log_format="eval",
            metadata={"request": request},
            display=display,
            fail_on_error=_FAILING_SHARE,
            ctl_server=False,
            max_retries=answerer.max_retries,
            max_connections=answerer.max_connections,
            **answerer.decoding,
        )
    return _finished(logs)


def _has_gaps(path: Path) -> bool:
    return any(is_gap(judgement) for item in read_log(path) for judgement in item.judgements)


def _failing(path: Path) -> str | None:
    """Why a log that inspect_ai takes for finished is not: a judge gave no word on too many rows."""
    rows = read_log(path)
    silent = [judgement for item in rows for judgement in item.judgements if is_gap(judgement)]
    for judge, times in Counter(judgement.judge for judgement in silent).items():
        if times > _FAILING_SHARE * len(rows):
            reason = next(judgement.reason for judgement in silent if judgement.judge == judge)
            return f"{judge}, {times} of {len(rows)} rows: {reason}"
    return None


def _retry(path: Path, base_url: str | None, display: Display) -> Path:
    log = open_log(path)
    # Where the model is served may have changed in the meantime.
    log.eval.model_base_url = base_url
    _forget_gaps(log)
    with _translating():
        try:
            logs = inspect_ai.eval_retry(log, log_dir=str(path.parent), display=display, ctl_server=False)
        except IndexError as error:  # what inspect_ai makes of an early interruption here
            raise KeyboardInterrupt from error
    return _finished(logs)


def _forget_gaps(log: EvalLog) -> None:
    """Let rows without a word from a judge be asked about again; inspect_ai does so for those without an answer."""
    for sample in log.samples or ():
        said = [one for score in (sample.scores or {}).values() for one in (score.metadata or {}).get("judgements", ())]
        if any(one["outcome"] is None and one["reason"].startswith(NO_WORD) for one in said):
            sample.invalidation = ProvenanceData(author="mis-dataset", reason="a judge gave no word")


def _logs_of(log_dir: Path, request: str) -> list[tuple[Path, bool]]:
    """The logs of a request and whether they are finished, the latest first: their names begin with the time."""
    headers = {path: open_log(path, header_only=True) for path in sorted(log_dir.glob("*.eval"), reverse=True)}
    return [
        (path, is_finished(header))
        for path, header in headers.items()
        if (header.eval.metadata or {}).get("request") == request
    ]


def _finished(logs: Sequence[EvalLog]) -> Path:
    # Whoever interrupts early gets no log back, though there is one on disk.
    if not logs or logs[0].status == "cancelled":
        raise KeyboardInterrupt
    log, path = logs[0], Path(logs[0].location)
    failed = (log.error and brief(log.error.message)) or log.status if log.status != "success" else _failing(path)
    if failed:
        raise EvaluationError(
            f"the run stopped, for too much of it failed: {failed}\n"
            f"What is finished is kept in {path}; mend the cause, and the same command goes on from there "
            "(a run of `inspect eval`: --resume with that log)"
        )
    return path


def _publish(logs: Sequence[Path], out: Path) -> Results:
    results = read_runs(logs)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / TABLES).write_text(leaderboard_markdown([results]), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror}") from error
    # Last, for it says that all is there.
    write_results(results, out / RESULTS)
    return results


def _refuse_old_results(out: Path) -> None:
    if (out / RESULTS).exists():
        raise OutputError(f"{out} has results already; name another folder, or remove {out / RESULTS} and its logs")


def _check_judges(judges: Sequence[str]) -> None:
    """Fail before the model was asked, not after, if a judge is unknown or lacks its key."""
    with _translating():
        for judge in judges:
            if judge != OFFLINE:
                get_model(judge)


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except PrerequisiteError as error:
        plain = Text.from_markup(str(error.message)).plain.removeprefix("ERROR: ")
        raise UsageError(" ".join(plain.split())) from error
    except ValueError as error:
        if "Model API" not in str(error) and "Model name" not in str(error):
            raise
        raise UsageError(f"{error} Name a model as inspect_ai does, such as openai/gpt-4o") from error
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise UsageError(f"--model-arg: the model's provider takes no such argument ({error}); leave it out") from error
