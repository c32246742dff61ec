"""The whole flow on one screen.

recipe ─► compose ─► render ─► teach ─► screen ─► route ─► decontaminate ─► split ─► assemble
          Scenario   +images   +label   verdicts  subset   benchmarks       quotas   Parquet + card
             ▲                                                                │
             └─────────────── another round where rows are missing ───────────┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mis_dataset import funnel
from mis_dataset.assemble import BuildFacts, Chosen, Quota, assemble
from mis_dataset.assemble.manifest import is_intact
from mis_dataset.budget import Cost
from mis_dataset.compose import Brief
from mis_dataset.crew import Prints
from mis_dataset.decontaminate import Benchmarks
from mis_dataset.errors import BudgetError, MisError
from mis_dataset.funnel import FunnelStep
from mis_dataset.real import asked_for, with_real
from mis_dataset.recipe import Cell, Recipe, load_recipe
from mis_dataset.records import SHARDED_STAGES, Scenario, Screened
from mis_dataset.resources import resource
from mis_dataset.rounds import more_wanted, only_new
from mis_dataset.route import write_review
from mis_dataset.run.images import LostImageError
from mis_dataset.run.line import Line
from mis_dataset.run.local import Engine, EngineKind, local_engine
from mis_dataset.run.lock import building, working_in
from mis_dataset.run.monitor import Monitor
from mis_dataset.run.place import Place
from mis_dataset.run.progress import Reporter, Silent
from mis_dataset.run.rows import Rows
from mis_dataset.run.stage import Shards
from mis_dataset.run.state import BuildState
from mis_dataset.run.workbench import Workbench
from mis_dataset.settle import Settled, settle
from mis_dataset.split import Split
from mis_dataset.start import Start
from mis_dataset.storage import reaching
from mis_dataset.versions import check_kept

_HEALINGS = 3
"""How often a build goes on by itself when it meets damaged images; a disk that damages more is for a person to see."""

STAGES = (*SHARDED_STAGES, "split", "assemble")


@dataclass(frozen=True)
class BuildReport:
    """What a build came to."""

    fingerprint: str
    """Of the whole dataset; with backends that always answer alike, equal fingerprints mean equal data."""
    funnel: tuple[FunnelStep, ...]
    split: Split | None
    """None if the build was told to stop before the split."""
    out: Path | None
    """The dataset, if it was assembled."""
    rounds: int
    spent: tuple[Cost, ...]
    is_exhausted: bool
    """Whether the composer had no more in the last round."""


def build(
    recipe: Recipe,
    out: Path,
    work: Path,
    *,
    to: str = "assemble",
    reporter: Reporter | None = None,
    engine: EngineKind = local_engine,
    storage: str = "",
) -> BuildReport:
    """Run a recipe, or what is left of it, up to and including the stage ``to``.

    Args:
        recipe: a checked recipe.
        out: the dataset's directory; must be free or hold this very dataset, an earlier round of it, or a version of it
            with smaller quotas: all its rows stay as they are then, and new ones come after them.
        work: keeps finished work; several builds may share it.
        to: one of `STAGES`; the rounds after the first are for what comes behind ``screen``.
        reporter: is told how it goes; by default nobody is.
        engine: where shards are made; the bytes do not depend on it.
        storage: where shards and images lie, if not in ``work``: a folder, or a URL that fsspec reaches.

    Raises:
        MisError: see `mis_dataset.errors`; finished shards stay, and the same call goes on from there.
        BudgetError: a limit of the recipe is reached; with a higher one the same call goes on from there.
    """
    start, reporter = Start.of(recipe, out, work, storage), reporter or Silent()
    if start.is_complete and to == STAGES[-1]:
        if is_intact(out):
            return BuildReport(start.fingerprint, (), None, out, 0, (), False)
        reporter.note(f"{out} is damaged; it is made again")

    if start.keeps:
        reporter.note(f"{out} holds a smaller version: its rows stay as they are, and new ones come after them")
    place = Place(work, storage)
    with building(out), working_in(work), reaching(storage):
        for _ in range(_HEALINGS):
            try:
                return _build(start, out, place, to, reporter, engine)
            except LostImageError as error:
                damaged = place.images.purge()
                reporter.note(f"{error.what}; what is missing or damaged is drawn anew ({damaged} damaged)")
        return _build(start, out, place, to, reporter, engine)


def _build(start: Start, out: Path, place: Place, to: str, reporter: Reporter, kind: EngineKind) -> BuildReport:
    """Go rounds until nothing is missing, version after version, and assemble what they come to."""
    with Monitor(reporter, place.work, out) as monitor:
        shop = _Workshop(start, out, place, to, monitor)
        # Answers of paid servers are kept as they come: a stopped build, or a better parser, asks nothing twice.
        with kind(start.crew.recipe, place) as engine, monitor.watching(engine.ledger):
            rounds, settled = _run_rounds(shop, engine)
            spent = engine.ledger.costs()
        # Without the engine: what follows needs no GPU.
        return _finish(shop, rounds, settled, spent)


def _run_rounds(shop: _Workshop, engine: Engine) -> tuple[list[_Round], Settled | None]:
    """Go rounds until nothing is missing; None instead of what they come to, if the build is to stop before that."""
    crew, wanted, kept = shop.start.crew, shop.start.wanted, tuple[str, ...]()
    recipe, benchmarks = crew.recipe, Benchmarks.load(crew.benchmarks)
    try:
        rounds = [_run_round(shop, engine, wanted, ())]
    except BudgetError as error:
        raise _stopped(error, None, 0) from error
    if shop.to in SHARDED_STAGES:
        return rounds, None
    for number, quotas in enumerate(recipe.versions):
        # A later version begins with what the one before it had no room for.
        begun = len(rounds) if number else 0
        settled = _settled(shop, rounds, benchmarks, quotas, kept)
        while _goes_on(recipe, rounds[begun:], settled):
            shop.monitor.note(f"round {len(rounds)}: {settled.missing}; composing more")
            wanted = more_wanted(wanted, settled.chosen.quotas, recipe.oversample)
            try:
                rounds.append(_run_round(shop, engine, wanted, rounds))
            except BudgetError as error:
                raise _stopped(error, settled, len(rounds) - begun) from error
            settled = _settled(shop, rounds, benchmarks, quotas, kept)
        kept = tuple(row.id for row in settled.chosen.rows)
    return rounds, settled


def _finish(shop: _Workshop, rounds: Sequence[_Round], settled: Settled | None, spent: tuple[Cost, ...]) -> BuildReport:
    """Say what the rounds came to, and assemble it."""
    start, monitor = shop.start, shop.monitor
    if settled is None:
        return BuildReport(start.fingerprint, _funnel(rounds), None, None, 1, spent, False)
    recipe, rows, routed, chosen = start.crew.recipe, _screened(rounds), settled.routed, settled.chosen
    steps = (*_funnel(rounds), *settled.funnel)
    if routed.graded:
        queue = write_review(routed, rows, shop.place.work / f"review-{start.prints['screen'][:12]}.jsonl")
        if routed.review:
            monitor.note(f"route: {len(routed.review)} rows on which experts disagree wait for review in {queue}")
    report = BuildReport(start.fingerprint, steps, chosen, None, len(rounds), spent, not rounds[-1].composed_anything)
    if chosen.shortfalls and recipe.split.on_shortfall == "fail":
        raise MisError("quotas are not met:\n" + "\n".join(f"  - {line}" for line in shortfall_lines(report)))
    if shop.to != STAGES[-1]:
        return report
    if not chosen.rows:
        reasons = [f"{step.stage} {step.reason} {step.count}" for step in steps if step.reason]
        raise MisError("no row is left to publish: " + (", ".join(reasons) or "the quotas ask for none"))
    monitor.turn_to("assembling")
    final = Chosen(chosen.rows, rows)
    if start.keeps:
        check_kept(shop.out, final)
    facts = _facts(start, settled, steps, rounds, spent)
    assemble(final, facts, shop.place.images.root, shop.out, replaces=start.replaces)
    return replace(report, out=shop.out)


def build_preview(target: Path) -> Path:
    """Build the embedded preview recipe into ``target`` and return it; seconds, and no network."""
    recipe = load_recipe(resource("builder_scripts", "preview.toml"))
    build(recipe, target, target.with_name(target.name + ".work"))
    return target


def shortfall_lines(report: BuildReport) -> list[str]:
    """One line per quota that was not met, the last with what may help."""
    short = report.split.shortfalls if report.split else {}
    lines = [f"{subset} / {sub_category}: {got} of {wanted}" for (subset, sub_category), (wanted, got) in short.items()]
    if report.is_exhausted:
        return [*lines, "the composer has no more: add frames or seeds"]
    rounds = f"{report.rounds} round{'s'[: report.rounds != 1]}"
    return [*lines, f"after {rounds}; a larger limits.max_rounds, more frames or more seeds may help"]


@dataclass(frozen=True)
class _Workshop:
    """What is built, how far, where, and who is told."""

    start: Start
    out: Path
    place: Place
    to: str
    monitor: Monitor


@dataclass(frozen=True)
class _Round:
    """One round's work, as far as it was to go."""

    prints: Prints
    scenarios: Shards[Scenario]
    later: tuple[Shards[Any], ...]
    """Of render, teach and screen."""

    @property
    def composed_anything(self) -> bool:
        return any(True for _ in self.scenarios.ids())


def _run_round(shop: _Workshop, engine: Engine, wanted: Mapping[Cell, int], earlier: Sequence[_Round]) -> _Round:
    """Compose, render, teach and screen what the rounds before did not."""
    crew, place = shop.start.crew, shop.place
    recipe = crew.recipe
    known = {name for one in earlier for name in one.scenarios.ids()}
    prints = crew.prints(wanted, known)
    history = [dict(one) for one in (*(one.prints for one in earlier), prints)]
    # Whoever asks later may stand elsewhere.
    out, storage = str(shop.out.resolve()), place.resolved().storage
    BuildState(recipe.name, out, shop.start.fingerprint, history, storage).save(place.work, shop.out)
    stages = crew.stages(place.images)[: STAGES.index(shop.to)]  # compose comes before these
    bench = Workbench(place.store, prints, stages, engine.ledger, shop.monitor.note)

    expected = max(0, round(sum(wanted.values()) * (1 + recipe.twins)) - len(known))

    def run() -> tuple[list[Shards[Any]], int]:
        composed = crew.composer.compose(Brief(recipe.seed, asked_for(wanted), recipe.twins))
        line = Line(bench, engine, shop.monitor, expected)
        stages = line.run(only_new(with_real(composed, wanted), known), recipe.shard_size)
        return stages, line.passing_failures

    shop.monitor.begin_round(len(history))
    done, failed = run()
    if failed:
        # As the same command would, if the build had been stopped here.
        shop.monitor.note(f"{failed} items failed for reasons that may have passed; they are tried again")
        done, _ = run()
    scenarios, *later = done
    return _Round(prints, scenarios, tuple(later))


def _screened(rounds: Sequence[_Round]) -> Rows[Screened]:
    """What all rounds let pass, in the order in which it was composed."""
    return Rows([one.later[-1] for one in rounds])


def _settled(
    shop: _Workshop,
    rounds: Sequence[_Round],
    benchmarks: Benchmarks,
    quotas: Mapping[Cell, int],
    kept: tuple[str, ...],
) -> Settled:
    """What all rounds come to."""
    shop.monitor.turn_to("settling which rows are published")
    return settle(_screened(rounds), shop.start.crew.recipe, benchmarks, quotas, kept)


def _goes_on(recipe: Recipe, rounds: Sequence[_Round], settled: Settled) -> bool:
    """Whether another round of a version is needed, allowed, and of any use."""
    is_allowed = len(rounds) < recipe.limits.max_rounds
    is_of_use = not rounds or rounds[-1].composed_anything
    return bool(settled.chosen.shortfalls) and is_allowed and is_of_use


def _stopped(error: BudgetError, settled: Settled | None, rounds: int) -> BudgetError:
    """What a limit cut short, and how to go on."""
    if settled:
        state = f"{settled.missing}; limits.max_rounds = {rounds} would publish what there is"
    else:
        state = "the first round is not complete; `mis status` shows how far it is"
    return BudgetError(f"{error}; {state}; raise the limit and run again: what was paid for is kept")


def _funnel(rounds: Sequence[_Round]) -> tuple[FunnelStep, ...]:
    """Of the stages whose work is cut into shards."""
    later = zip(*(one.later for one in rounds), strict=True)
    return (
        *funnel.composed([one.scenarios for one in rounds]),
        *(step for stage in later for step in funnel.made(stage)),
    )


def _facts(
    start: Start, settled: Settled, steps: tuple[FunnelStep, ...], rounds: Sequence[_Round], spent: tuple[Cost, ...]
) -> BuildFacts:
    recipe = start.crew.recipe
    checks = funnel.checks(one.later[0] for one in rounds) if recipe.check else None
    return BuildFacts(
        name=recipe.name,
        recipe_text=recipe.canonical(),
        fingerprint=start.fingerprint,
        stages=dict(start.prints),
        rounds=len(rounds),
        funnel=steps,
        quotas=tuple(Quota(*cell, wanted, got) for cell, (wanted, got) in settled.chosen.quotas.items()),
        agreement=settled.routed.agreement,
        decontamination=settled.clean.found,
        checks=checks,
        spent=spent,
        card=recipe.card,
    )
