# /// script
# requires-python = ">=3.11"
# dependencies = ["mis-dataset[diffusion,openai]==0.1.0"]
# ///
"""Build and publish in one self-contained script, on any machine with `uv`, or as a Job of the Hugging Face Hub.

    uv run builder_scripts/build_job.py preview.toml --out build/mis

    hf jobs uv run --flavor a100-large --timeout 12h --secrets HF_TOKEN -v ./recipes:/recipes \
        builder_scripts/build_job.py /recipes/mine.toml --keep hf://buckets/my-org/mis-work --push my-org/mis

A Job's disk goes with the Job, and its time is limited. With `--keep`, finished work is copied into a bucket as it
comes and fetched from there at the start: the same command again goes on from there. `uv` installs what the header
names.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import click
from httpx2 import HTTPError
from huggingface_hub import HfApi

from mis_dataset.resources import resource

LEDGER = "ledger.sqlite"
LEFT_OUT = [f"{LEDGER}*", "*.tmp", "build.lock*"]
"""Not copied as it is: the ledger, which may be written to at any time, and what lasts no longer than a build."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("recipe")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/mis"), show_default=True)
@click.option("--keep", metavar="hf://buckets/ORG/NAME", help="Where finished work is kept.")
@click.option("--every", type=float, default=300.0, show_default=True, help="Seconds between two copies.")
@click.option("--push", "repository", metavar="ORG/NAME", help="Publish the dataset there, private and gated.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def main(
    recipe: str, out: Path, keep: str | None, every: float, repository: str | None, options: tuple[str, ...]
) -> None:
    """Build RECIPE, a file or the name of a shipped one; OPTIONS are those of `mis build`."""
    work = out.resolve().parent / "work"
    command = ["build", str(recipe_file(recipe)), "--out", str(out), "--work", str(work), "--yes", *options]
    if keep:
        HfApi().create_bucket(bucket_name(keep), private=True, exist_ok=True)
        code = keeping(command, work, keep, every)
    else:
        code = mis(command)
    if code == 0 and repository:
        code = mis(["push", str(out), repository])
    sys.exit(code)


def recipe_file(recipe: str) -> Path:
    """The file of that name, or the shipped recipe."""
    path = Path(recipe)
    try:
        return path if path.exists() else resource("builder_scripts", recipe)
    except FileNotFoundError as error:
        raise click.BadParameter(f"there is no file {recipe!r}, and no shipped recipe", param_hint="RECIPE") from error


def bucket_name(address: str) -> str:
    """``ORG/NAME`` of ``hf://buckets/ORG/NAME/some/folder``."""
    parts = address.removeprefix("hf://buckets/").strip("/").split("/")
    if not address.startswith("hf://buckets/") or len(parts) < 2:
        raise click.BadParameter(f"{address!r} is not of the form hf://buckets/ORG/NAME", param_hint="--keep")
    return "/".join(parts[:2])


def mis(command: list[str]) -> int:
    """Run a command of `mis` and return its exit code; told to stop, it finishes what is in hand first."""
    with subprocess.Popen([sys.executable, "-m", "mis_dataset", *command]) as process:
        # Who cancels a Job sends SIGTERM. Of a person's Ctrl-C, the terminal tells the command itself.
        earlier = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT)),
            signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        }
        try:
            return process.wait()
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)


def keeping(command: list[str], work: Path, bucket: str, every: float) -> int:
    """Fetch earlier work, run a command, and copy its work every so often and in the end."""
    work.mkdir(parents=True, exist_ok=True)
    HfApi().sync_bucket(bucket, str(work), quiet=True)
    done = Event()

    def now_and_then() -> None:
        while not done.wait(every):
            copy(work, bucket)

    copier = Thread(target=now_and_then)
    copier.start()
    try:
        code = mis(command)
    finally:
        done.set()
        copier.join()
    return code if copy(work, bucket) else code or 1


def copy(work: Path, bucket: str) -> bool:
    """Copy what is new in the work folder, where files appear whole, and its ledger; whether that went well.

    What cannot be copied now may be the next time: no trouble with the Hub or the ledger ends the build.
    """
    try:
        HfApi().sync_bucket(str(work), bucket, exclude=LEFT_OUT, quiet=True)
        with TemporaryDirectory() as folder:
            if snapshot(work / LEDGER, Path(folder) / LEDGER):
                HfApi().sync_bucket(folder, bucket, quiet=True)
    # The last two: a file that could not be sent, and an answer of the Hub that makes no sense.
    except (OSError, HTTPError, sqlite3.Error, RuntimeError, ValueError) as error:
        click.echo(f"work could not be copied to {bucket}: {error}", err=True)
        return False
    return True


def snapshot(ledger: Path, target: Path) -> bool:
    """A copy of the ledger that is whole though a build is writing to it; False if there is no ledger yet."""
    if not ledger.exists():
        return False
    with closing(sqlite3.connect(ledger)) as live, closing(sqlite3.connect(target)) as copied:
        live.backup(copied)
    return True


if __name__ == "__main__":
    main()
