"""``mis push``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mis_dataset.cli._console import console, quiet_option


@click.command(
    epilog="""\b
Examples:
  mis push build/mis my-org/mis --dry-run       say what would be uploaded
  mis push build/mis my-org/mis --tag v1.0.0    private and gated"""
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("repository", metavar="ORG/NAME")
@click.option("--tag", metavar="vX.Y.Z", help="Tag the pushed version.")
@click.option("--public", is_flag=True, help="Make the repository public; it is private otherwise.")
@click.option("--no-gate", is_flag=True, help="Do not ask readers to request access.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing to the Hub.")
@quiet_option
def push(
    directory: Path, repository: str, tag: str | None, public: bool, no_gate: bool, dry_run: bool, quiet: bool
) -> None:
    """Publish the dataset in DIRECTORY as ORG/NAME on the Hugging Face Hub.

    The dataset is validated first. Log in with `hf auth login`, or set HF_TOKEN.
    """
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # documented, but not in __all__

    from mis_dataset.publish import push as run_push

    if quiet or not sys.stderr.isatty():
        disable_progress_bars()
    show = console(quiet=quiet)
    run_push(
        directory,
        repository,
        tag=tag,
        public=public,
        gate=not no_gate,
        dry_run=dry_run,
        on_event=lambda message: show.print(message, markup=False),
    )
