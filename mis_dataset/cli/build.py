"""``mis build``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import click

from mis_dataset.budget import Totals
from mis_dataset.cli._console import console, default_work, quiet_option, reporting, table, work_option
from mis_dataset.errors import UsageError
from mis_dataset.forecast import forecast
from mis_dataset.pipeline import STAGES, BuildReport, shortfall_lines
from mis_dataset.pipeline import build as run_build
from mis_dataset.recipe import Recipe, load_recipe
from mis_dataset.records import SUBSETS
from mis_dataset.run.local import EngineKind, local_engine
from mis_dataset.run.ray_engine import RaySettings, ray_engine
from mis_dataset.start import dry_run


@click.command(
    epilog="""\b
Examples:
  mis build builder_scripts/preview.toml --out build/mis
  mis build my_recipe.toml --out build/mis --limit 8       a small first try
  mis build my_recipe.toml --out build/mis --to render     stop once the images are drawn
  mis build my_recipe.toml --out build/mis --dry-run       say what would be done
  mis build my_recipe.toml --out build/mis --yes           do not ask before a costly build
  mis build my_recipe.toml --out /shared/mis --engine ray --ray-address auto    on a cluster"""
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The dataset's directory.")
@work_option
@click.option("--to", type=click.Choice(STAGES), default=STAGES[-1], show_default=True, help="The last stage to run.")
@click.option("--limit", type=click.IntRange(min=1), help="Harmful rows at most, in the recipe's proportions.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where shards are made: in this process, or by Ray; the same bytes.",
)
@click.option("--ray-address", help="A running cluster's; 'auto': this machine's.  [default: start one here]")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Ray actors that draw.  [default: one per GPU if the renderer wants one, else one per two CPUs]",
)
@click.option(
    "--askers",
    type=click.IntRange(min=1),
    help="Ray actors for each stage that asks servers.  [default: one per 16 that draw]",
)
@click.option(
    "--storage",
    default="",
    help="Where shards and images lie, such as s3://bucket/mis; every worker has to reach it.  [default: --work]",
)
@click.option("--yes", is_flag=True, help="Do not ask before a build that is expected to cost something.")
@click.option("--dry-run", "dry", is_flag=True, help="Check everything and say what would be done; do nothing.")
@quiet_option
def build(
    recipe: Path,
    out: Path,
    work: Path | None,
    to: str,
    limit: int | None,
    engine: str,
    ray_address: str | None,
    workers: int | None,
    askers: int | None,
    storage: str,
    yes: bool,
    dry: bool,
    quiet: bool,
) -> None:
    """Build the dataset that RECIPE describes.

    A build that was stopped goes on where it was: run the same command again. `mis plan` says what it is expected to
    need.
    """
    begun = time.monotonic()
    kind = _engine(engine, RaySettings(ray_address, workers, askers))
    loaded = load_recipe(recipe)
    if limit is not None:
        loaded = loaded.limited(limit)
    work = default_work(out, work)
    # Checks everything that can be checked, before anybody is asked to agree.
    intention = dry_run(loaded, out, work, storage)
    if dry:
        console(quiet=quiet).print(intention.text, markup=False)
        return
    if not (yes or intention.is_complete):
        _ask_if_costly(loaded, to)
    with reporting(quiet=quiet) as reporter:
        report = run_build(loaded, out, work, to=to, reporter=reporter, engine=kind, storage=storage)
    show = console(quiet=quiet)
    if not report.funnel:
        show.print(f"{report.out} is complete already", markup=False)
        return
    show.print(summary(report), markup=False)
    seconds = f"{time.monotonic() - begun:.1f} s"
    show.print(f"{report.out} is ready ({seconds})" if report.out else f"stopped after {to} ({seconds})", markup=False)


def _engine(name: str, settings: RaySettings) -> EngineKind:
    """The engine that was asked for.

    Raises:
        UsageError: it has no use for what was said of Ray.
    """
    if name == "ray":
        return partial(ray_engine, settings)
    if settings != RaySettings():
        raise UsageError("--ray-address, --workers and --askers are for --engine ray")
    return local_engine


def _ask_if_costly(recipe: Recipe, to: str) -> None:
    """Ask before much is spent up to a stage; where nobody can answer, say how to agree beforehand.

    Raises:
        UsageError: nobody can be asked.
        Exit: the answer is no.
    """
    expected = forecast(recipe).until(to)
    if not expected.is_costly:
        return
    total = f"about {Totals.of(expected.costs)}"
    if not sys.stdin.isatty():
        raise UsageError(f"this build is expected to need {total}; see `mis plan`, and say --yes to agree")
    if not click.confirm(f"This build is expected to need {total}. Go on?", err=True):
        click.echo("nothing was done", err=True)
        raise click.exceptions.Exit(1)


def summary(report: BuildReport) -> str:
    """Rows per subset and category, rejects by reason, and quotas that were not met."""
    parts = []
    if report.split:
        rows = report.split.rows
        counts = Counter((row.category, row.subset) for row in rows)
        subsets = [subset for subset in SUBSETS if any(row.subset == subset for row in rows)]
        body: list[list[object]] = [
            [category, *(counts[category, subset] for subset in subsets)]
            for category in dict.fromkeys(row.category for row in rows)
        ]
        total = ["all", *(sum(row.subset == subset for row in rows) for subset in subsets)]
        twins = sum(row.intent == "benign" for row in rows)
        parts += [table(f"{len(rows)} rows, of which {twins} benign twins", ["category", *subsets], [*body, total])]
    rejects = [[step.stage, step.reason, step.count] for step in report.funnel if step.outcome != "accepted"]
    if rejects:
        parts += [table("Not accepted", ["stage", "reason", "count"], rejects)]
    if report.spent:
        parts += [f"Spent: {Totals.of(report.spent)}"]
    if report.split and report.split.shortfalls:
        parts += ["\n".join(["Quotas not met", *(f"  {line}" for line in shortfall_lines(report))])]
    return "\n\n".join(parts)
