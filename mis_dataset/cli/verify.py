"""``mis verify``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from mis_dataset.cli._console import busy, console, quiet_option
from mis_dataset.errors import MisError


@click.command(
    epilog="""\b
Examples:
  mis verify build/mis --sample 20
  mis verify build/mis --model ~/models/sd-turbo    where the recipe's model is a folder"""
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--sample", type=click.IntRange(min=1), default=16, show_default=True, help="Images to make again.")
@click.option(
    "--model", help="The folder of the renderer's model, where the recipe's is one, or to stand in for the Hub."
)
@click.option("--corpus", help="The photographs that rows of real were taken from.")
@quiet_option
def verify(directory: Path, sample: int, model: str | None, corpus: str | None, quiet: bool) -> None:
    """Make some images of the dataset in DIRECTORY again, from their prompts and seeds, and compare.

    Each is told as it comes. What was drawn on a CPU has to be the same to the last pixel, by the same versions on the
    same kind of CPU; what was drawn otherwise, nearly so. Photographs are found again with --corpus, and named
    otherwise. The exit code is 1 if an image is not what its provenance says.
    """
    from mis_dataset.verify import Verified
    from mis_dataset.verify import verify as verified

    show, found, images = (
        console(quiet=quiet),
        list[Verified](),
        verified(directory, sample, model=model, corpus=corpus),
    )
    while True:
        with busy(f"drawing images of {directory} again: {len(found)} of at most {sample}", quiet=quiet):
            if (one := next(images, None)) is None:
                break
        found.append(one)
        show.print(f"{len(found)}. {one}", markup=False)
    counts = Counter(one.outcome for one in found)
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    if bad := [one for one in found if not one.is_good]:
        raise MisError(
            f"{len(bad)} of {len(found)} images of {directory} are not what their provenance says ({told}); the first "
            f"is {bad[0]}\nOther versions of the libraries, or another kind of processor, can be the reason."
        )
    show.print(f"{len(found)} images of {directory} looked at: {told or 'there are none'}", markup=False)
