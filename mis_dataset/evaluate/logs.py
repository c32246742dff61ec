"""Reading the logs of evaluations: judged rows, and who was asked what. A log gives what was measured live."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog, EvalSample, read_eval_log

import mis_dataset
from mis_dataset.errors import UsageError
from mis_dataset.evaluate.records import Judged, Judgement
from mis_dataset.evaluate.results import JudgeUsed, Results
from mis_dataset.evaluate.samples import answered, judged
from mis_dataset.evaluate.trouble import NO_ANSWER, brief

_TIMING = {"max_retries", "max_connections", "timeout", "attempt_timeout"}
"""Settings that change no answer."""
_NOT_NEEDED = frozenset({"attachments", "events", "messages", "store"})
"""What is large in a log, and not needed for numbers."""
_KNOWN_OTHERWISE = {"probe", "data", "judge", "images_side", "name", "file", "images"}
"""Arguments of tasks that do not say which rows are asked for, or say it with a path."""


def read_log(path: Path) -> list[Judged]:
    """The judged rows of a finished log, in the dataset's order; a row that got no answer is unscored by every judge.

    Raises:
        UsageError: it is no log of ours, is not finished, or has several answers to a row.
    """
    return rows_of(*read_samples(path))


def rows_of(log: EvalLog, samples: Sequence[EvalSample]) -> list[Judged]:
    """The judged rows of what `read_samples` gives."""
    judges = [used.name for used in _judges(log)]
    return [_judged(sample, judges) for sample in samples]


def read_runs(logs: Sequence[Path]) -> Results:
    """The results of finished logs: one of the rows as they are, and any of the same rows probed.

    Raises:
        UsageError: see `read_log`; or the logs are not of one run and its probes.
    """
    headers = {path: read_header(path) for path in logs}
    plain = check_one_run(headers)
    header, samples = read_samples(plain)
    rows = rows_of(header, samples)
    facts = header.eval.metadata or {}
    side = header.eval.task_args.get("images_side")
    given_elsewhere = facts.get("answered_by")
    return Results(
        model=given_elsewhere or header.eval.model,
        dataset=facts["dataset"],
        fingerprint=facts["fingerprint"],
        judges=tuple(replace(judge, answered_by=_models_of(rows, judge.name)) for judge in _judges(header)),
        decoding=_decoding(header) | ({"images_side": side} if side else {}),
        rows=tuple(rows),
        probes={
            header.eval.task_args["probe"]: tuple(read_log(path)) for path, header in headers.items() if path != plain
        },
        benchmark=facts.get("benchmark"),
        request=_request(header),
        model_args=header.eval.model_args,
        answered_by=() if given_elsewhere else tuple(sorted({one.output.model for one in samples if one.output.model})),
        versions={"mis-dataset": mis_dataset.__version__} | header.eval.packages,
    )


def check_one_run(headers: Mapping[Path, EvalLog]) -> Path:
    """The one log of rows as they are, if the others are of the same run, each with a probe of its own.

    Raises:
        UsageError: they are not.
    """
    probes = {path: header.eval.task_args.get("probe") for path, header in headers.items()}
    plain = [path for path, probe in probes.items() if not probe]
    if len(plain) != 1:
        raise UsageError(f"{len(plain)} of {len(probes)} logs are of rows without a probe; give exactly one such log")
    if twice := [probe for probe, times in Counter(probes.values()).items() if times > 1]:
        raise UsageError(f"several logs are of the probe {twice[0]}; give one log of each probe")
    wanted = _identity(headers[plain[0]])
    for path, header in headers.items():
        found = _identity(header)
        if differing := [key for key in wanted if found[key] != wanted[key]]:
            key = differing[0]
            raise UsageError(
                f"{path} is not of the same run as {plain[0]}: its {key} is {found[key]}, not {wanted[key]}; "
                "give the logs of one run and its probes"
            )
    return plain[0]


def _identity(header: EvalLog) -> dict[str, Any]:
    """What a run and its probes have in common."""
    facts = header.eval.metadata or {}
    return {
        "model": header.eval.model,
        "provider's arguments": header.eval.model_args,
        "dataset": facts["dataset"],
        "fingerprint": facts["fingerprint"],
        "judges": facts["judges"],
        "decoding": _decoding(header),
        "images_side": header.eval.task_args.get("images_side"),
        "request": _request(header),
    }


def _request(header: EvalLog) -> dict[str, Any]:
    """Which rows were asked for; where they lie does not matter, for their fingerprint is known."""
    chosen = {"limit": header.eval.config.limit, "sample_id": header.eval.config.sample_id}
    wanted = {key: value for key, value in header.eval.task_args.items() if key not in _KNOWN_OTHERWISE}
    return wanted | {key: value for key, value in chosen.items() if value is not None}


def _models_of(rows: Sequence[Judged], judge: str) -> tuple[str, ...]:
    said = (judgement for item in rows for judgement in item.judgements if judgement.judge == judge)
    return tuple(sorted({judgement.model for judgement in said if judgement.model}))


def _decoding(header: EvalLog) -> dict[str, Any]:
    config = header.eval.model_generate_config.model_dump(exclude_none=True)
    return {key: value for key, value in config.items() if key not in _TIMING}


def read_header(path: Path) -> EvalLog:
    """A log of ours without its rows.

    Raises:
        UsageError: it cannot be read, or is none of ours.
    """
    return _ours(open_log(path, header_only=True), path)


def read_samples(path: Path) -> tuple[EvalLog, list[EvalSample]]:
    """A finished log of ours and its samples, in the dataset's order; images and events are left out.

    Raises:
        UsageError: see `read_log`.
    """
    log = _ours(open_log(path, exclude=_NOT_NEEDED), path)
    if not is_finished(log):
        state = "rows were taken back" if log.invalidated else log.status
        raise UsageError(f"{path} is not finished ({state}); finish it with: mis evaluate --resume {path}")
    if (log.eval.config.epochs or 1) > 1:
        raise UsageError(f"{path} has several answers to each row; evaluate without --epochs")
    # Samples lie in a log in the order in which they were written; one by one they would be in order, but slow to read.
    places = {name: place for place, name in enumerate(log.eval.dataset.sample_ids or ())}
    return log, sorted(log.samples or (), key=lambda sample: places.get(sample.id, len(places)))


def is_finished(log: EvalLog) -> bool:
    """Whether every row of a log is done; people can take rows back with inspect_ai."""
    return log.status == "success" and not log.invalidated


def open_log(path: Path, *, header_only: bool = False, exclude: Set[str] = frozenset()) -> EvalLog:
    """Any log of inspect_ai.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return read_eval_log(str(path), header_only=header_only, exclude_fields=set(exclude) or None)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        first = str(error).partition("\n")[0]
        remedy = "give a log of `mis evaluate` or `inspect eval`, or remove it from the folder of logs"
        raise UsageError(f"{path} cannot be read ({first}); {remedy}") from error


def _ours(log: EvalLog, path: Path) -> EvalLog:
    if not (log.eval.metadata or {}).keys() >= {"dataset", "fingerprint", "judges"}:
        raise UsageError(f"{path} is a log of {log.eval.task}, which is none of ours; give one of mis_dataset/mis")
    return log


def _judges(header: EvalLog) -> tuple[JudgeUsed, ...]:
    return tuple(JudgeUsed(**judge) for judge in (header.eval.metadata or {})["judges"])


def _judged(sample: EvalSample, judges: Sequence[str]) -> Judged:
    score = next(iter((sample.scores or {}).values()), None)
    if score is not None and score.metadata:
        return judged(sample.metadata, score.answer or "", score.metadata["judgements"])
    reason = NO_ANSWER + (brief(sample.error.message) if sample.error else "the row was not judged")
    row = answered(sample.metadata, sample.output.completion)
    return Judged(row, tuple(Judgement(judge, None, reason) for judge in judges))
