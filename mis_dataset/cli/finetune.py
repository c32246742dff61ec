"""``mis finetune``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mis_dataset.cli._console import console, quiet_option
from mis_dataset.errors import UsageError
from mis_dataset.finetune import FinetuneSettings, load_settings, push_model
from mis_dataset.finetune import finetune as run_finetune
from mis_dataset.finetune.devices import is_first_process
from mis_dataset.finetune.noise import hush
from mis_dataset.finetune.publish import check_name
from mis_dataset.options import options_schema

_TYPES = {"string": str, "integer": int, "number": float}


def _setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """A flag for every setting; what is not given stays as the recipe has it."""
    for name, schema in reversed(options_schema(FinetuneSettings)["properties"].items()):
        flag, told = f"--{name.replace('_', '-')}", schema["description"]
        default = schema.get("default")
        if default not in (None, ""):
            shown = ", ".join(default) if isinstance(default, tuple) else str(default).lower()
            told = f"{told}  [default: {shown}]"
        if schema.get("type") == "boolean":
            option = click.option(f"{flag}/--no-{name.replace('_', '-')}", name, default=None, help=told)
        elif schema.get("type") == "array":
            told = f"{told} May be given several times."
            option = click.option(flag, name, multiple=True, type=click.Choice(schema["items"]["enum"]), help=told)
        elif "enum" in schema:
            option = click.option(flag, name, type=click.Choice(schema["enum"]), help=told)
        else:
            option = click.option(flag, name, type=_TYPES[schema["type"]], help=told)
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  mis finetune --model Qwen/Qwen2-VL-2B-Instruct --data build/mis --out build/tuned
  mis finetune builder_scripts/finetune_qwen2vl.toml --data build/mis --general llava.json --out build/tuned
  mis finetune builder_scripts/finetune_qwen2vl.toml --data build/mis --out build/baseline --labels refusal --no-twins
  accelerate launch -m mis_dataset finetune builder_scripts/finetune_qwen2vl.toml --data build/mis --out build/tuned""",
)
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder for the model or adapter.")
@click.option("--push", metavar="ORG/NAME", help="Publish it on the Hub afterwards, private.")
@click.option("--public", is_flag=True, help="Publish it for everybody to see.")
@_setting_options
@quiet_option
def finetune(recipe: Path | None, out: Path, push: str | None, public: bool, quiet: bool, **flags: Any) -> None:
    """Teach a vision-language model what a dataset holds.

    RECIPE is a TOML file of settings; flags override it. A run that was stopped goes on where it was: run the same
    command again.
    """
    if public and not push:
        raise UsageError("--public means nothing without --push, which says where to publish")
    settings = load_settings(
        recipe,
        {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in flags.items()
            if value not in (None, ())
        },
    )
    if push:
        check_name(push)
    hush(bars=sys.stderr.isatty() and not quiet)
    show = console(quiet=quiet or not is_first_process())

    def tell(message: str) -> None:
        show.print(message, markup=False)

    done = run_finetune(settings, out, on_event=tell)
    tell(f"{out} is ready: {done.record['training']['steps']:,} steps" if done.is_new else f"{out} is complete already")
    if push and is_first_process():
        push_model(out, push, public=public, on_event=tell)
