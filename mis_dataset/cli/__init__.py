"""The console script ``mis``: thin commands over library functions, one file each."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from mis_dataset.cli.build import build
from mis_dataset.cli.calibrate import calibrate
from mis_dataset.cli.clean import clean
from mis_dataset.cli.compare import compare
from mis_dataset.cli.diff import diff
from mis_dataset.cli.evaluate import evaluate
from mis_dataset.cli.export import export
from mis_dataset.cli.finetune import finetune
from mis_dataset.cli.import_ import import_
from mis_dataset.cli.leaderboard import leaderboard
from mis_dataset.cli.plan import plan
from mis_dataset.cli.push import push
from mis_dataset.cli.status import status
from mis_dataset.cli.validate import validate
from mis_dataset.cli.verify import verify
from mis_dataset.errors import MisError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mis-dataset", prog_name="mis")
def cli() -> None:
    """Generate, check and publish multi-image safety data for vision-language models.

    \b
    A first dataset, without network, key or GPU:
      mis build builder_scripts/preview.toml --out build/mis
      mis validate build/mis

    Exit codes: 0 done, 1 the work failed, 2 the request or its input is wrong, 3 a limit of the recipe is reached;
    130 (Ctrl-C) and 143 (SIGTERM) stopped: the same command goes on from there, if it is build, clean, evaluate,
    finetune or push; any other begins anew.
    """


for command in (
    plan,
    build,
    status,
    clean,
    validate,
    verify,
    diff,
    export,
    import_,
    push,
    finetune,
    evaluate,
    compare,
    leaderboard,
    calibrate,
):
    cli.add_command(command)


_GOING_ON = {"build", "clean", "evaluate", "finetune", "push"}
"""The commands that keep what they have finished."""


class _Terminated(SystemExit):
    """SIGTERM came, which the schedulers of clusters send."""


def main() -> None:
    """Run the command line; a mistake prints one message and no traceback."""
    try:
        with _terminable():
            # Without its standalone mode, click hands the code of an early exit back.
            if code := cli.main(standalone_mode=False):
                sys.exit(code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        _tell_stopped("interrupted")
        sys.exit(130)
    except _Terminated:
        _tell_stopped("terminated")
        raise
    except MisError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        click.echo(f"error: {error.filename or 'the system'}: {error.strerror or error}", err=True)
        sys.exit(1)


@contextmanager
def _terminable() -> Iterator[None]:
    """Within the block SIGTERM ends what goes on as Ctrl-C does, so that nothing stays half-written; exit code 143."""

    def stop(number: int, _: object) -> None:
        raise _Terminated(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell_stopped(how: str) -> None:
    # The group has no options of its own that would let a command run: the first word is its name.
    if _GOING_ON.isdisjoint(sys.argv[1:2]):
        left = "nothing is kept: the same command begins anew"
    else:
        left = "finished work is kept: the same command goes on from there"
    click.echo(f"\n{how}; {left}", err=True)
