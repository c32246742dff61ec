"""``mis import``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mis_dataset.cli._console import busy, console, quiet_option

_LISTED = 10


@click.command(
    name="import",
    epilog="""\b
Examples:
  mis import legacy MIS-test --out build/published
  mis import llava their_rows.json --images their_images --out build/theirs --license cc-by-4.0
  mis import llamafactory LLaMA-Factory/data --out build/theirs --multi-image-only""",
)
@click.argument("format_", metavar="FORMAT")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The dataset's directory.")
@click.option(
    "--images", type=click.Path(path_type=Path), help="Where the paths of images start.  [default: beside the rows]"
)
@click.option(
    "--subset",
    type=click.Choice(["train", "easy", "hard", "real"]),
    help="Of rows that do not name theirs; not for legacy.  [default: train]",
)
@click.option(
    "--intent",
    type=click.Choice(["harmful", "benign"]),
    help="Of rows that do not name theirs; not for legacy.  [default: harmful]",
)
@click.option("--multi-image-only", is_flag=True, help="Leave out rows that do not have two to four images.")
@click.option("--name", help="What to call the dataset.  [default: the name of SOURCE]")
@click.option("--license", "license_", default="unknown", show_default=True, help="As the card is to state it.")
@quiet_option
def import_(
    format_: str,
    source: Path,
    out: Path,
    images: Path | None,
    subset: str | None,
    intent: str | None,
    multi_image_only: bool,
    name: str | None,
    license_: str,
    quiet: bool,
) -> None:
    """Make somebody else's multi-image dataset one that validate, push, evaluate and finetune understand.

    \b
    FORMAT says how SOURCE, a folder or a file of it, is laid out:
      legacy        the published MIS files, as `mis export --format legacy` writes them, too
      llava         LLaVA or InternVL: image and conversations
      llamafactory  LLaMA-Factory: conversations and images, with dataset_info.json

    What is not known of a row is null afterwards. Broken rows and images are all listed; the exit code is then 2.
    """
    from mis_dataset.intake import import_dataset
    from mis_dataset.recipe import CardSpec

    options: dict[str, Any] = {"subset": subset, "intent": intent}
    with busy(f"reading {source}", quiet=quiet):
        report = import_dataset(
            format_,
            source,
            out,
            {key: value for key, value in options.items() if value is not None},
            images=images,
            name=name,
            card=CardSpec(pretty_name=name or source.resolve().name, license=license_),
            multi_image_only=multi_image_only,
        )
    show = console(quiet=quiet)
    for reason, rows in report.left_out.items():
        shown = ", ".join(rows[:_LISTED]) + (", …" if len(rows) > _LISTED else "")
        show.print(f"left out {len(rows)} rows, {reason}: {shown}", markup=False)
    show.print(f"{out} has {report.rows} rows and is valid", markup=False)
