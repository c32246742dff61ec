"""``mis clean``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.filesize import decimal

from mis_dataset.cli._console import console, default_work, quiet_option, table, work_option
from mis_dataset.errors import UsageError
from mis_dataset.run.clean import Part, cleaning, remove


@click.command(
    epilog="""\b
Examples:
  mis clean build/mis --dry-run                say what would go and what would stay
  mis clean build/mis                          ask, then remove it
  mis clean build/mis --forget build/first     a first try is not wanted any more"""
)
@click.argument("directory", type=click.Path(path_type=Path))
@work_option
@click.option(
    "--forget",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="OUT",
    help="Let the work of the build into OUT go, too, unless others use it; OUT itself is left alone. Can be repeated.",
)
@click.option("--ledger", is_flag=True, help="Remove the answers and drawings, too, that were paid for.")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@click.option("--dry-run", "dry", is_flag=True, help="Say what would be removed; remove nothing.")
@quiet_option
def clean(
    directory: Path, work: Path | None, forget: tuple[Path, ...], ledger: bool, yes: bool, dry: bool, quiet: bool
) -> None:
    """Remove finished work that no build refers to any more.

    That is the work folder of the dataset in DIRECTORY: stages of earlier recipes, images that nothing names, and what
    killed builds left half-written. Datasets are left alone, and so is a --storage that is not the work folder; every
    known build goes on where it was.
    """
    folder = default_work(directory, work)
    show = console(quiet=quiet)
    with cleaning(folder, forget=forget, ledger=ledger) as plan:
        listed = [_listed(title, parts) for title, parts in (("Stays", plan.stays), ("Goes", plan.goes)) if parts]
        show.print("\n\n".join([f"work in {folder}", *listed]), markup=False)
        if not plan.goes:
            show.print("nothing to remove")
            return
        if ledger:
            click.echo(
                "warning: without its ledger, what is built again is asked for, drawn and paid for again", err=True
            )
        if dry:
            show.print(f"{_amount(plan.goes)} would go")
            return
        if not yes:
            _ask(plan.goes)
        remove(plan)
    show.print(f"{_amount(plan.goes)} removed")


def _ask(parts: Sequence[Part]) -> None:
    """Ask before anything is removed; where nobody can answer, say how to agree beforehand.

    Raises:
        UsageError: nobody can be asked.
        Exit: the answer is no.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{_amount(parts)} would be removed; say --yes to agree")
    if not click.confirm(f"Remove {_amount(parts)}?", err=True):
        click.echo("nothing was removed", err=True)
        raise click.exceptions.Exit(1)


def _listed(title: str, parts: Sequence[Part]) -> str:
    rows = [[part.name, f"{part.files:,}", f"{part.size / 1e6:,.1f}", part.why] for part in parts]
    return table(title, ["what", "files", "MB", "why"], rows)


def _amount(parts: Sequence[Part]) -> str:
    files = sum(part.files for part in parts)
    return f"{files:,} file{'' if files == 1 else 's'} ({decimal(sum(part.size for part in parts))})"
