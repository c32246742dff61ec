"""``mis export``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress

from mis_dataset.cli._console import console, quiet_option, table
from mis_dataset.errors import UsageError
from mis_dataset.formats import Plan, available, carry_out, find_format, plan_export
from mis_dataset.options import options_schema
from mis_dataset.records import SUBSETS


class _Export(click.Command):
    """Its help tells the options of all formats, which are imported only then."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them after the command's own."""
        super().format_options(ctx, formatter)
        with formatter.section("Formats' options, for --option KEY=VALUE"):
            formatter.write_dl(
                [
                    (f"{name}: {key}", _described(schema))
                    for name in available()
                    for key, schema in options_schema(find_format(name))["properties"].items()
                ]
            )


@click.command(
    cls=_Export,
    epilog="""\b
Examples:
  mis export build/mis --format llamafactory --out exported/llamafactory
  mis export build/mis --format vlmevalkit --subset hard --out exported/tsv
  mis export build/mis --format openai --option kind=batch --option model=gpt-4o --out exported/batch
  mis export build/mis --format webdataset --out exported/shards --dry-run""",
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(available()), required=True, help="The tool that will read it.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to make; absent or empty.")
@click.option(
    "--subset",
    "subsets",
    type=click.Choice(SUBSETS),
    multiple=True,
    help="Only these rows; can be repeated.  [default: those that the format is for]",
)
@click.option(
    "--intent",
    type=click.Choice(["harmful", "all"]),
    help="Harmful rows, or their benign twins as well.  [default: what the format is for]",
)
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the format's own, as below."
)
@click.option("--dry-run", is_flag=True, help="Say what would be written; write nothing.")
@quiet_option
def export(
    directory: Path,
    format_: str,
    out: Path,
    subsets: tuple[str, ...],
    intent: str | None,
    options: tuple[str, ...],
    dry_run: bool,
    quiet: bool,
) -> None:
    """Write the dataset in DIRECTORY in the layout of another tool.

    Rows are streamed; exporting again gives the same bytes. Formats of trainers take the rows of train, those of
    evaluators the rows of test, unless --subset says otherwise.
    """
    plan = plan_export(directory, format_, out, _parsed(options), subsets=subsets, intent=cast("Any", intent))
    show = console(quiet=quiet)
    show.print(_listed(plan), markup=False)
    if dry_run:
        show.print(f"{plan.rows:,} rows would be written to {out}", markup=False)
        return
    screen = Console(stderr=True)
    with Progress(console=screen, disable=quiet or not screen.is_terminal) as bars:
        bar = bars.add_task("rows", total=plan.rows)
        carry_out(plan, lambda: bars.advance(bar))
    files = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
    show.print(f"{out} is ready: {len(files):,} files, {decimal(sum(files))}", markup=False)


def _parsed(options: Sequence[str]) -> Mapping[str, Any]:
    """Options by name; values that are no JSON are texts.

    Raises:
        UsageError: one has no ``=``.
    """
    found: dict[str, Any] = {}
    for text in options:
        key, separator, value = text.partition("=")
        if not separator:
            raise UsageError(f"--option {text}: write KEY=VALUE")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _described(schema: Mapping[str, Any]) -> str:
    """What an option of a format does, which values it takes, and which it has unless it is given."""
    values = [f"one of {', '.join(schema['enum'])}"] if "enum" in schema else []
    default = [f"default: {schema['default']}"] if schema["default"] != "" else []
    return f"{schema['description']}  [{'; '.join([*values, *default])}]".removesuffix("  []")


def _listed(plan: Plan) -> str:
    rows: list[list[Any]] = [
        [subset, f"{counts.rows:,}", f"{counts.images:,}"] for subset, counts in plan.counts.items()
    ]
    listed = table(f"Rows of {plan.source.name}", ["subset", "rows", "images"], rows)
    if plan.left_out:
        listed += f"\n  {plan.left_out:,} benign rows stay out; --intent all takes them along"
    if plan.warning:
        listed += f"\n  {plan.warning}"
    return listed
