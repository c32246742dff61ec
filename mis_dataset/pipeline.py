"""The whole flow on one screen.

recipe ─► compose ─► render ─► teach ─► screen ─► route ─► split ─► assemble
          Scenario   +images   +label   verdicts  subset   quotas   Parquet + card
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from mis_dataset import __version__
from mis_dataset.assemble import BuildFacts, FunnelStep, Quota, assemble
from mis_dataset.assemble.folder import holds
from mis_dataset.assemble.manifest import is_intact
from mis_dataset.backends import make_backend, missing_environment
from mis_dataset.chat import keeping_answers
from mis_dataset.check import Checker
from mis_dataset.compose import Brief, Composer
from mis_dataset.errors import BackendError, MisError, OutputError
from mis_dataset.options import content_digest, identity
from mis_dataset.recipe import BackendSpec, Recipe, load_recipe
from mis_dataset.records import Labelled, Rendered, Screened
from mis_dataset.render import Renderer
from mis_dataset.resources import resource
from mis_dataset.route import Routed, route, write_review
from mis_dataset.run.draw import Artist
from mis_dataset.run.images import ImageStore
from mis_dataset.run.local import LocalExecutor, Shards, Stage
from mis_dataset.run.progress import Reporter, Silent
from mis_dataset.run.shards import Item, Outcome, kind
from mis_dataset.run.stages import School, render_scenarios, screen_rows
from mis_dataset.run.state import BuildState, stage_folder
from mis_dataset.screen import Screener
from mis_dataset.seeds import stable_digest
from mis_dataset.split import Split, split
from mis_dataset.teach import Teacher

STAGES = ("compose", "render", "teach", "screen", "split", "assemble")


@dataclass(frozen=True)
class BuildReport:
    """What a build came to."""

    fingerprint: str
    """Of the whole dataset; with backends that always answer alike, equal fingerprints mean equal bytes."""
    funnel: tuple[FunnelStep, ...]
    split: Split | None
    """None if the build was told to stop before the split."""
    out: Path | None
    """The dataset, if it was assembled."""


def build(
    recipe: Recipe, out: Path, work: Path, *, to: str = "assemble", reporter: Reporter | None = None
) -> BuildReport:
    """Run a recipe, or what is left of it, up to and including the stage ``to``.

    Args:
        recipe: a checked recipe.
        out: the dataset's directory; must be free or hold this very dataset.
        work: keeps finished work; several builds may share it.
        to: one of `STAGES`.
        reporter: is told how it goes; by default nobody is.

    Raises:
        MisError: see `mis_dataset.errors`; finished shards stay, and the same call goes on from there.
    """
    start = _Start.of(recipe, out, work)
    reporter = reporter or Silent()
    if start.is_complete and to == STAGES[-1]:
        if is_intact(out):
            return BuildReport(start.prints["dataset"], (), None, out)
        reporter.note(f"{out} is damaged; it is made again")
    images = ImageStore(work / "images")
    executor = LocalExecutor(work, start.prints, reporter)
    BuildState(recipe.name, str(out), start.prints).save(work, out)

    artist = Artist(start.renderer, images, recipe.seed, recipe.max_redraws, start.checker, recipe.max_refinements)
    school = School(start.teacher, images, start.critics, recipe.max_rewrites)

    last = STAGES.index(to)
    drawing = Stage("render", Rendered, partial(render_scenarios, artist), images.holds_all)
    teaching = Stage("teach", Labelled, school.teach)
    screening = Stage("screen", Screened, partial(screen_rows, start.screeners, images))

    # Answers of paid servers are kept as they come: a stopped build, or a better parser, asks nothing twice.
    with keeping_answers(work / "answers.sqlite"):
        done: list[Shards[Any]] = [scenarios := executor.source(start.composer.compose(start.brief), recipe.shard_size)]
        if last >= 1:
            done += [rendered := executor.run(drawing, scenarios)]
        if last >= 2:
            done += [labelled := executor.run(teaching, rendered)]
        if last >= 3:
            done += [screened := executor.run(screening, labelled)]
    funnel = [step for shards in done for step in _steps(shards.store.name, shards.outcomes())]
    if last < 4:
        return BuildReport(start.prints["dataset"], tuple(funnel), None, None)

    routed = route(list(screened.records()), recipe.split.agreement)
    if routed.graded:
        funnel += [FunnelStep("route", "accepted", "", len(routed.rows)), *_steps("route", _counted(routed.dropped))]
        queue = write_review(routed, work / f"review-{start.prints['screen'][:12]}.jsonl")
        if routed.review:
            reporter.note(f"route: {len(routed.review)} rows on which experts disagree wait for review in {queue}")
    chosen = split(routed.rows, recipe.quotas, recipe.split)
    funnel += [FunnelStep("split", "accepted", "", len(chosen.rows)), *_steps("split", _counted(chosen.dropped))]
    if chosen.shortfalls and recipe.split.on_shortfall == "fail":
        raise MisError("quotas are not met:\n" + "\n".join(f"  - {line}" for line in shortfall_lines(chosen)))
    if last >= 5 and not chosen.rows:
        reasons = [f"{step.stage} {step.reason} {step.count}" for step in funnel if step.reason]
        raise MisError("no row is left to publish: " + (", ".join(reasons) or "the quotas ask for none"))
    if last >= 5:
        assemble(chosen.rows, _facts(recipe, start.prints, funnel, routed, chosen), images.root, out)
    return BuildReport(start.prints["dataset"], tuple(funnel), chosen, out if last >= 5 else None)


def plan(recipe: Recipe, out: Path, work: Path) -> str:
    """What `build` would do, in words; checks what `build` checks first, and does nothing.

    Raises:
        MisError: what `build` would raise before its first stage.
    """
    start = _Start.of(recipe, out, work)
    families = sum(start.brief.wanted.values())
    who: dict[str, Any] = {
        "compose": start.composer,
        "render": f"{start.renderer}{f', checked by {start.checker}' if start.checker else ''}",
        "teach": ", criticised by ".join(map(str, (start.teacher, *start.critics))),
        "screen": ", ".join(map(str, start.screeners)),
    }
    return "\n".join(
        [
            f"{recipe.name}: {sum(recipe.quotas.values())} harmful rows and their twins, from {families} families",
            *(f"  {stage:<8} {stage_folder(work, stage, start.prints[stage])}  {who[stage]}" for stage in who),
            f"  dataset  {out}{' is complete already: nothing to do' if start.is_complete else ''}",
        ]
    )


def build_preview(target: Path) -> Path:
    """Build the embedded preview recipe into ``target`` and return it; seconds, and no network."""
    recipe = load_recipe(resource("builder_scripts", "preview.toml"))
    build(recipe, target, target.with_name(target.name + ".work"))
    return target


def shortfall_lines(chosen: Split) -> list[str]:
    """One line per quota that was not met."""
    return [
        f"{subset} / {sub_category}: {got} of {wanted}; more frames, seeds or a larger compose.oversample may help"
        for (subset, sub_category), (wanted, got) in chosen.shortfalls.items()
    ]


@dataclass(frozen=True)
class _Start:
    """Everything that is settled before the first stage."""

    composer: Composer
    renderer: Renderer
    checker: Checker | None
    teacher: Teacher
    critics: tuple[Screener, ...]
    screeners: tuple[Screener, ...]
    brief: Brief
    prints: dict[str, str]
    """Per stage, a hash of everything that can change its output, the stages before it included."""
    is_complete: bool
    """Whether ``out`` holds this very dataset already."""

    @classmethod
    def of(cls, recipe: Recipe, out: Path, work: Path) -> _Start:
        if work.resolve().is_relative_to(out.resolve()):
            raise OutputError(f"the work folder {work} lies in --out {out}, which has to hold the dataset alone")
        # Constructors are cheap and check what they can, so that missing weights or extras show before any work.
        composer, renderer, teacher = map(_made, (recipe.compose, recipe.render, recipe.teach))
        checker = _made(recipe.check) if recipe.check else None
        critics, screeners = tuple(map(_made, recipe.critics)), tuple(map(_made, recipe.screen))
        backends = (composer, renderer, checker, teacher, *critics, *screeners)
        if unset := sorted({name for backend in backends for name in missing_environment(backend)}):
            raise BackendError(f"set the environment variable {' and '.join(unset)}: the recipe's servers want a key")
        wanted = {cell: ceil(rows * recipe.oversample) for cell, rows in recipe.quotas.items()}
        brief = Brief(recipe.seed, wanted, recipe.twins)

        compose = stable_digest("compose", recipe.seed, sorted(wanted.items()), recipe.twins, identity(composer))
        checking = (identity(checker), recipe.max_refinements) if checker else ()
        render = stable_digest("render", compose, recipe.max_redraws, identity(renderer), *checking)
        criticism = (*map(identity, critics), recipe.max_rewrites) if critics else ()
        teach = stable_digest("teach", render, identity(teacher), *criticism)
        screen = stable_digest("screen", teach, *map(identity, screeners))
        dataset = stable_digest(
            "dataset", __version__, screen, recipe.canonical(), content_digest(resource("dataset_card"))
        )
        prints = {"compose": compose, "render": render, "teach": teach, "screen": screen, "dataset": dataset}

        return cls(composer, renderer, checker, teacher, critics, screeners, brief, prints, holds(out, dataset))


def _made(spec: BackendSpec) -> Any:
    return make_backend(spec.stage, spec.backend, spec.options)


def _counted(items: Iterable[Item[Any]]) -> Counter[Outcome]:
    return Counter((kind(item), getattr(item.outcome, "reason", "")) for item in items)


def _steps(stage: str, outcomes: Counter[Outcome]) -> list[FunnelStep]:
    return [FunnelStep(stage, outcome, reason, count) for (outcome, reason), count in sorted(outcomes.items())]


def _facts(
    recipe: Recipe, prints: dict[str, str], funnel: list[FunnelStep], routed: Routed, chosen: Split
) -> BuildFacts:
    return BuildFacts(
        name=recipe.name,
        recipe_text=recipe.canonical(),
        fingerprint=prints["dataset"],
        stages={stage: fingerprint for stage, fingerprint in prints.items() if stage != "dataset"},
        funnel=tuple(funnel),
        quotas=tuple(Quota(*cell, wanted, got) for cell, (wanted, got) in chosen.quotas.items()),
        agreement=routed.agreement,
        card=recipe.card,
    )
