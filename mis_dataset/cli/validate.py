"""``mis validate``."""

from __future__ import annotations

from pathlib import Path

import click

from mis_dataset.cli._console import busy, console, quiet_option


@click.command(epilog="\b\nExample:\n  mis validate build/mis")
@click.argument("directory", type=click.Path(path_type=Path))
@quiet_option
def validate(directory: Path, quiet: bool) -> None:
    """Check every row, image, twin and number of the dataset in DIRECTORY.

    All problems are listed, with row ids; the exit code is then 2.
    """
    from mis_dataset.validation import validate_or_raise

    with busy(f"checking {directory}", quiet=quiet):
        validate_or_raise(directory)
    console(quiet=quiet).print(f"{directory} is valid", markup=False)
