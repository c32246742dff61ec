"""``results.json``: who answered, who judged, what came out, and every row's outcome, so that all of it can be checked.

Answers and reasons are not in it, they stay in the log: the file can be passed on without what a model wrote.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.evaluate.adapters import BENCHMARKS
from mis_dataset.evaluate.metrics import OUTCOMES, break_down, judge_agreement, judges_of, measure
from mis_dataset.evaluate.offline import OFFLINE_NAME
from mis_dataset.evaluate.paired import PairedRate, paired_rates
from mis_dataset.evaluate.records import Answered, Judged, Judgement
from mis_dataset.evaluate.statistics import Estimate
from mis_dataset.run.shards import replacing
from mis_dataset.schema import checker, load_schema

FORMAT = 1

MUCH_UNSCORED = 0.05
"""A judge that leaves a larger share unscored has said too little for its rates to be those of all rows."""


@dataclass(frozen=True)
class JudgeUsed:
    """A judge of a run."""

    name: str
    """As its judgements name it."""
    model: str
    """The model, with its revision if that is known; the name again of an offline judge."""
    prompt: str
    """The version of its prompt or its rules: a digest."""
    answered_by: tuple[str, ...] = ()
    """The models that answered in its name, as servers call them: revisions, say. Empty if nobody said."""


@dataclass(frozen=True)
class Results:
    """A run: a model's answers to a dataset's rows, judged. All numbers follow from the rows."""

    model: str
    dataset: str
    """Its name, or the name of the file of responses."""
    fingerprint: str | None
    """The dataset's, from its manifest; None if it has none."""
    judges: tuple[JudgeUsed, ...]
    decoding: Mapping[str, Any]
    """How answers were sampled: temperature, max_tokens and so on."""
    rows: tuple[Judged, ...]
    probes: Mapping[str, tuple[Judged, ...]] = field(default_factory=dict)
    """The same rows shown in another way, by the probe's name: without images, say."""
    date: str | None = None
    """When; left out where the same run should give the same bytes."""
    benchmark: str | None = None
    """Whose rates its rows give, by the name in `BENCHMARKS`; None: a dataset of ours, or responses to it."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """Which rows were asked for: subset, intents, limit_families and so on."""
    model_args: Mapping[str, Any] = field(default_factory=dict)
    """What the model's provider was given."""
    answered_by: tuple[str, ...] = ()
    """The models that answered, as servers call them; empty if nobody said."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of this package and of inspect_ai."""

    @property
    def benchmark_rates(self) -> dict[str, Estimate]:
        """What its benchmark reports, by the rate's name; empty without a benchmark."""
        return BENCHMARKS[self.benchmark].measure(self.rows) if self.benchmark else {}

    @property
    def probe_differences(self) -> dict[str, tuple[PairedRate, ...]]:
        """What every probe changes: rows that it shows, less the same rows as they are; see `paired_rates`."""
        return {name: paired_rates(self.rows, rows) for name, rows in self.probes.items()}

    @property
    def notes(self) -> list[str]:
        """What makes the numbers less trustworthy, a sentence each."""
        return list(_notes(self))


def write_results(results: Results, path: Path) -> None:
    """Write a run with its metrics.

    Raises:
        DatasetError: rows, probes and judges contradict each other, or break the schema; all problems are listed.
        StorageError: the file cannot be written.
    """
    if problems := list(_contradictions(results)):
        raise DatasetError(f"{path} is not written, for its run contradicts itself:", problems)
    document = _document(results)
    if problems := checker(load_schema("results"))(document):
        raise DatasetError(f"{path} is not written, for its run breaks the schema:", problems)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read a run; its answers and the judges' reasons are empty.

    Raises:
        DatasetError: the file breaks its schema, or its metrics are not those of its rows; all problems are listed.
        UsageError: it cannot be read.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; give a results.json of `mis evaluate`") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path} is not a run's results:", [f"not valid JSON: {error}; give a results.json of `mis evaluate`"]
        ) from error
    if problems := checker(load_schema("results"))(document):
        raise DatasetError(f"{path} breaks its schema:", problems)
    results = _results(document)
    if problems := list(_contradictions(results)) or list(_wrong(document, _document(results))):
        raise DatasetError(f"{path} contradicts itself; evaluate again:", problems)
    return results


@dataclass(frozen=True)
class Comparison:
    """Two runs over the rows that they have in common."""

    rates: tuple[PairedRate, ...]
    warnings: tuple[str, ...]
    """What makes the runs less comparable, a sentence each."""


def compare(first: Results, second: Results, judge: str | None = None) -> Comparison:
    """Compare two runs by their common rows.

    Args:
        first: a run.
        second: another, whose gain or loss is asked for.
        judge: whose word counts; None: that of each run's majority.

    Raises:
        UsageError: the runs have no row in common, or a judge is unknown to one of them.
    """
    rates = paired_rates(first.rows, second.rows, judge)
    # Every row is harmful or benign, so these two are about all of them, and about none twice.
    common = sum(rate.first.n for rate in rates if rate.metric in ("asr", "over_refusal"))
    if not common:
        raise UsageError(
            f"the runs of {first.model} and {second.model} have no scored row in common; evaluate both on the same data"
        )
    known = {item.row.id for run in (first, second) for item in run.rows}
    return Comparison(rates=rates, warnings=tuple(_incomparable(first, second, judge, len(known) - common)))


def _incomparable(first: Results, second: Results, judge: str | None, left_out: int) -> Iterator[str]:
    if first.fingerprint != second.fingerprint:
        yield "the runs are over different datasets; only common rows are compared"
    judges = [[used for used in run.judges if judge in (None, used.name)] for run in (first, second)]
    if judges[0] != judges[1]:
        yield "the runs were judged by different judges or prompts; judge both in the same way"
    if first.decoding != second.decoding:
        yield "the runs were sampled with different settings"
    if left_out:
        yield f"{left_out} rows are left out, for they are not in both runs or not scored in both"


def _notes(results: Results) -> Iterator[str]:
    names = judges_of(results.rows)
    if OFFLINE_NAME in names:
        others = ", and counts in the majority" if len(names) > 1 else ""
        yield f"the judge {OFFLINE_NAME} goes by words alone{others}; name a model with --judge for numbers to report"
    for name in names:
        share = measure(results.rows, name).unscored.value or 0.0
        if share > MUCH_UNSCORED:
            yield f"the judge {name} left {share:.1%} of the rows unscored; its log says why"


def _document(results: Results) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": results.model,
        "answered_by": list(results.answered_by),
        "model_args": dict(results.model_args),
        "versions": dict(results.versions),
        "request": dict(results.request),
        "dataset": {"name": results.dataset, "fingerprint": results.fingerprint},
        "date": results.date,
        "judges": [{**asdict(judge), "answered_by": list(judge.answered_by)} for judge in results.judges],
        "decoding": dict(results.decoding),
        "metrics": _rates(results.rows),
        "benchmark": _benchmark(results),
        "agreement": [asdict(agreement) for agreement in judge_agreement(results.rows)],
        "probes": {
            name: {
                "metrics": _rates(results.probes[name]),
                "differences": [asdict(rate) for rate in differences],
                "rows": [_row(item) for item in results.probes[name]],
            }
            for name, differences in results.probe_differences.items()
        },
        "rows": [_row(item) for item in results.rows],
    }


def _rates(rows: Sequence[Judged]) -> dict[str, Any]:
    """By the majority and by each judge: overall, and by groups."""

    def of(judge: str | None) -> dict[str, Any]:
        groups = break_down(rows, judge)
        return {
            "overall": asdict(measure(rows, judge)),
            **{kind: {name: asdict(found) for name, found in members.items()} for kind, members in groups.items()},
        }

    return {"majority": of(None), "judges": {judge: of(judge) for judge in judges_of(rows)}}


def _benchmark(results: Results) -> dict[str, Any] | None:
    if results.benchmark is None:
        return None
    return {
        "name": results.benchmark,
        "rates": {name: asdict(rate) for name, rate in results.benchmark_rates.items()},
    }


def _row(item: Judged) -> dict[str, Any]:
    facts = asdict(item.row)
    del facts["response"]
    said = item.judgements
    return {
        **facts,
        "outcomes": {judgement.judge: judgement.outcome for judgement in said},
        "perception": {judgement.judge: judgement.perception for judgement in said if judgement.perception},
    }


def _results(document: Mapping[str, Any]) -> Results:
    """From a document that follows the schema."""
    return Results(
        model=document["model"],
        dataset=document["dataset"]["name"],
        fingerprint=document["dataset"]["fingerprint"],
        judges=tuple(
            JudgeUsed(**{**judge, "answered_by": tuple(judge["answered_by"])}) for judge in document["judges"]
        ),
        decoding=document["decoding"],
        rows=tuple(map(_judged, document["rows"])),
        probes={name: tuple(map(_judged, probe["rows"])) for name, probe in document["probes"].items()},
        date=document["date"],
        benchmark=(document["benchmark"] or {}).get("name"),
        request=document["request"],
        model_args=document["model_args"],
        answered_by=tuple(document["answered_by"]),
        versions=document["versions"],
    )


def _judged(row: Mapping[str, Any]) -> Judged:
    facts = {key: value for key, value in row.items() if key not in ("outcomes", "perception")}
    judgements = tuple(
        Judgement(judge, outcome, perception=row["perception"].get(judge)) for judge, outcome in row["outcomes"].items()
    )
    return Judged(Answered(response="", **facts), judgements)


def _contradictions(results: Results) -> Iterator[str]:
    used = {judge.name for judge in results.judges}
    for where, rows in {"rows": results.rows, **results.probes}.items():
        for name, times in Counter(item.row.id for item in rows).items():
            if times > 1:
                yield f"{where}: row {name} is there {times} times; give every row an id of its own"
        for item in rows:
            for judge, times in Counter(judgement.judge for judgement in item.judgements).items():
                if judge not in used:
                    yield f"{where}: row {item.row.id} is judged by {judge!r}, which is not among the judges"
                if times > 1:
                    yield f"{where}: row {item.row.id} is judged {times} times by {judge!r}; name judges differently"
            for judgement in item.judgements:
                if judgement.outcome not in (None, *OUTCOMES[item.row.intent]):
                    yield (
                        f"{where}: row {item.row.id}: {judgement.outcome!r} of {judgement.judge!r} is no outcome of "
                        f"a {item.row.intent} row"
                    )


def _wrong(found: Any, true: Any, path: str = "") -> Iterator[str]:
    """Where a document differs from the one that follows from its rows."""
    if isinstance(found, dict) and isinstance(true, dict):
        # Limits that come from draws may differ a little between versions of numpy.
        for key in sorted((found.keys() | true.keys()) - {"low", "high"}):
            yield from _wrong(found.get(key), true.get(key), f"{path}.{key}" if path else key)
    elif isinstance(found, list) and isinstance(true, list) and len(found) == len(true):
        for place, (one, other) in enumerate(zip(found, true, strict=True)):
            yield from _wrong(one, other, f"{path}[{place}]")
    elif isinstance(found, float) and isinstance(true, float):
        if not math.isclose(found, true, rel_tol=1e-9, abs_tol=1e-12):
            yield f"{path} is {found}, but {true} by the rows"
    elif found != true:
        yield f"{path} is {found!r}, but {true!r} by the rows"
