"""``mis status``."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from rich.live import Live
from rich.text import Text

from mis_dataset.assemble.folder import held_fingerprint
from mis_dataset.budget import Cost, Totals
from mis_dataset.cli._console import console, default_work, quiet_option, table, work_option
from mis_dataset.errors import OutputError
from mis_dataset.run.monitor import Progress, load_progress
from mis_dataset.run.state import BuildState, stage_status

_LOOK_EVERY_S = 1.0


@click.command(
    epilog="""\b
Examples:
  mis status build/mis
  mis status build/mis --watch      follow a running build; Ctrl-C stops watching, not the build
  mis status build/mis --json       rates, queues and costs for programs"""
)
@click.argument("directory", type=click.Path(path_type=Path))
@work_option
@click.option("--watch", is_flag=True, help="Look every second until the build ends.")
@click.option("--json", "as_json", is_flag=True, help="Print how the build goes as JSON, and nothing else.")
@quiet_option
def status(directory: Path, work: Path | None, watch: bool, as_json: bool, quiet: bool) -> None:
    """Say how far the build into DIRECTORY is, and how it goes."""
    folder = default_work(directory, work)
    state = BuildState.load(folder, directory)
    show = console(quiet=quiet)
    if as_json:
        progress = load_progress(folder, directory)
        if progress is None:
            raise OutputError(f"no progress of a build of {directory} is known in {folder}; start one: mis build")
        show.print(json.dumps({**progress.told, "state": progress.state}, indent=2), markup=False)
        return
    if watch:
        # A terminal shows of a live page what has room; the last one is printed whole.
        with Live(console=show, auto_refresh=False, transient=True) as live:
            while (progress := load_progress(folder, directory)) and progress.state == "running":
                live.update(Text(_page(folder, directory)), refresh=True)
                time.sleep(_LOOK_EVERY_S)
    show.print(f"recipe {state.recipe}, work in {folder}\n{_page(folder, directory)}", markup=False)


def _page(folder: Path, directory: Path) -> str:
    """Everything that is known: shards on disk, how it goes, and what is in the directory."""
    state = BuildState.load(folder, directory)
    shards = [
        [stage.name, stage.done, stage.total if stage.total is not None else "?", stage.items, stage.rejected]
        for stage in stage_status(folder, state)
    ]
    title = f"Shards of round {len(state.rounds)}"
    parts = [table(title, ["stage", "done", "of", "accepted", "not accepted"], shards)]
    if progress := load_progress(folder, directory):
        parts += ["", *_going(progress)]
    held = held_fingerprint(directory)
    if held is None:
        verdict = "is not assembled yet"
        verdict += "" if progress and progress.state == "running" else "; the same `mis build` command goes on"
    else:
        verdict = "is complete" if held == state.fingerprint else "holds something else"
    return "\n".join([*parts, f"{directory} {verdict}"])


def _going(progress: Progress) -> list[str]:
    """How the build goes or went."""
    told = progress.told
    columns = ["stage", "items", "of", "per second", "left", "waiting", "idle", "rejected", "failed"]
    rows = [
        [
            stage["stage"],
            f"{stage['done']:.0f}",
            _total(stage),
            f"{stage['per_second']:.2f}",
            _left(stage),
            stage["waiting"],
            f"{stage['idle']:.0%}",
            stage["rejected"],
            stage["failed"],
        ]
        for stage in told["stages"]
    ]
    states = {
        "running": f"running (process {told['pid']}), {told['doing']}",
        "silent": f"silent for {progress.age_s:.0f} s: process {told['pid']} was probably killed",
        "stopped": f"stopped{': ' + told['why'] if told['why'] else ''}",
        "finished": "finished",
    }
    costs = [Cost(**cost) for cost in told["costs"]]
    return [
        table(f"Round {told['round']} {states[progress.state]}", columns, rows),
        *(["", _servers(told["servers"])] if told["servers"] else []),
        *([f"Spent so far: {Totals.of(costs)}"] if costs else []),
        "",
    ]


def _servers(told: list[dict[str, Any]]) -> str:
    """What became of requests, by stage and model."""
    rows = [
        [
            server["stage"],
            server["model"],
            server["answered"],
            f"{server['error_rate']:.1%}",
            ", ".join(f"{count} {reason}" for reason, count in server["troubles"].items()),
        ]
        for server in told
    ]
    return table("Requests since the build began", ["stage", "model", "answered", "errors", "which"], rows)


def _total(stage: dict[str, Any]) -> str:
    """Items in the end; reckoned ones are marked."""
    if stage["total"] is None:
        return "?"
    return f"{'' if stage['is_sure'] else '~'}{stage['total']}"


def _left(stage: dict[str, Any]) -> str:
    """Time to go, as the last minute went."""
    if stage["is_complete"]:
        return "-"
    return "?" if stage["eta_s"] is None else str(timedelta(seconds=round(stage["eta_s"])))
