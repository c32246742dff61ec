"""The Python interface: what the commands `build`, `validate`, `export` and `push` do, and `load`.

    import mis_dataset

    report = mis_dataset.build("builder_scripts/preview.toml", "build/mis")
    rows = mis_dataset.load("build/mis", split="train")
    assert not mis_dataset.validate("build/mis")
    mis_dataset.export("build/mis", "llava", "exported/llava", dialect="internvl")
    mis_dataset.push("build/mis", "my-org/mis", dry_run=True)

Nothing here prints or asks. Everything that goes wrong on purpose is a `mis_dataset.MisError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, load_dataset
from datasets.exceptions import DatasetGenerationError, SplitsVerificationError

from mis_dataset import formats, pipeline, publish, validation
from mis_dataset.errors import DatasetError, UsageError
from mis_dataset.formats import Plan
from mis_dataset.formats.source import Choice
from mis_dataset.loader import NAME
from mis_dataset.pipeline import BuildReport
from mis_dataset.publish import PushResult
from mis_dataset.recipe import Recipe, load_recipe
from mis_dataset.run.local import EngineKind, local_engine
from mis_dataset.run.place import work_beside
from mis_dataset.run.progress import Reporter
from mis_dataset.validation import Problem

__all__ = ["build", "export", "load", "push", "validate"]


def build(
    recipe: Recipe | Path | str,
    out: Path | str,
    work: Path | str | None = None,
    *,
    to: str = pipeline.STAGES[-1],
    limit: int | None = None,
    reporter: Reporter | None = None,
    engine: EngineKind = local_engine,
    storage: str = "",
) -> BuildReport:
    """Build the dataset that a recipe describes, or what is left of it. Does not ask before a costly build.

    Args:
        recipe: the path of a TOML file, or what `mis_dataset.recipe.load_recipe` made of one.
        out: the dataset's directory; must be free or hold this very dataset, an earlier round of it, or a smaller
            version of it, whose rows stay.
        work: keeps finished work; several builds may share it. None: ``work`` beside the dataset.
        to: the last stage to run, one of `mis_dataset.pipeline.STAGES`.
        limit: harmful rows at most, in the recipe's proportions.
        reporter: is told how it goes; by default nobody is.
        engine: where shards are made; the bytes do not depend on it.
        storage: where shards and images lie, if not in ``work``: a folder, or a URL that fsspec reaches.

    Returns:
        What the build came to: how many items left each stage in which way, the rows, and what was spent.

    Raises:
        RecipeError: the recipe has mistakes; all are listed.
        UsageError: ``to`` is no stage, or ``limit`` is below 1.
        OutputError: ``out`` holds something else.
        BudgetError: a limit of the recipe is reached; with a higher one the same call goes on from there.
        MisError: anything else of `mis_dataset.errors`; finished work stays, and the same call goes on from there.
    """
    if to not in pipeline.STAGES:
        raise UsageError(f"there is no stage {to!r}; there are {', '.join(pipeline.STAGES)}")
    if limit is not None and limit < 1:
        raise UsageError(f"limit is {limit}, but a dataset has at least one row")
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(Path(recipe))
    if limit is not None:
        loaded = loaded.limited(limit)
    out = Path(out)
    place = Path(work) if work is not None else work_beside(out)
    return pipeline.build(loaded, out, place, to=to, reporter=reporter, engine=engine, storage=storage)


def load(
    directory_or_repo: Path | str = NAME,
    config: str = "default",
    split: str | None = None,
    *,
    streaming: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> Dataset | DatasetDict | IterableDataset | IterableDatasetDict:
    """Load a dataset's rows with `datasets`.

    Args:
        directory_or_repo: a directory that `build` wrote; or, if there is none of that name, ``organisation/name`` on
            the Hub. ``mis`` is ``./mis`` if it was built here, else the embedded preview.
        config: ``default``, ``easy``, ``hard``, ``real`` or ``provenance``; ``paper`` for the official data.
        split: ``train`` or ``test``, also with a slice as in ``train[:100]``; None for both, by name.
        streaming: read rows as they are asked for, without a copy in the cache.
        revision: a branch, tag or commit on the Hub; of no use for directories.
        token: for private and gated repositories; by default the one that `huggingface_hub` finds.

    Returns:
        One split, or a mapping of both; iterable only, if streaming.

    Raises:
        DatasetError: there is no such dataset, or it is not readable with this token, or damaged.
        UsageError: it has no such config or split, or ``revision`` is given for a directory.
    """
    name = str(directory_or_repo)
    is_local = name == NAME or isinstance(directory_or_repo, Path) or Path(name).expanduser().exists()
    if is_local and revision is not None:
        raise UsageError(f"{name} is a directory of this machine, and has no revision {revision!r}")
    options = {"split": split, "streaming": streaming, "token": token}
    try:
        if is_local:
            found = load_dataset(NAME, config, data_dir=None if name == NAME else name, **options)
        else:
            found = load_dataset(name, config, revision=revision, **options)
    except (FileNotFoundError, ConnectionError) as error:
        here = "is neither a directory here nor a dataset on the Hub that can be read with this token"
        raise DatasetError(f"{name} {here}:", [str(error)]) from error
    except (DatasetGenerationError, SplitsVerificationError) as error:
        why = error.__cause__ or error
        problems = why.problems if isinstance(why, DatasetError) else [f"{why}; `mis validate` says more"]
        raise DatasetError(f"{name} cannot be read:", problems) from error
    except ValueError as error:  # what `datasets` raises of configs and splits
        raise UsageError(f"{name}: {error}") from error
    return found


def validate(directory: Path | str) -> list[Problem]:
    """Check every row, image, twin, number and text of a dataset's directory.

    Args:
        directory: what `build` wrote, or ``mis import``.

    Returns:
        Everything that is wrong, each with the id of a row or the path of a file; empty if nothing is.
    """
    return validation.validate(Path(directory))


def export(
    directory: Path | str,
    format: str,  # noqa: A002  # what it is called on the command line
    out: Path | str,
    *,
    subsets: Sequence[str] = (),
    intent: Choice | None = None,
    **options: Any,
) -> Plan:
    """Write a dataset in the layout of another tool: completely, or not at all. Exporting again gives the same bytes.

    Args:
        directory: the dataset's.
        format: a name of `mis_dataset.formats.available`, such as ``llamafactory``.
        out: the folder to make; absent, or empty.
        subsets: which of ``train``, ``easy``, ``hard`` and ``real``; empty for those that the format is for.
        intent: ``harmful`` or ``all`` rows; None for those that the format is for.
        **options: the format's own.

    Returns:
        What was written: rows and images by subset.

    Raises:
        UsageError: there is no such format, option, subset or intent, or no row is left.
        DatasetError: the directory is no dataset, or has a row that the format cannot hold.
        OutputError: ``out`` is in use, or lies inside the dataset.
        StorageError: the disk is full, or something cannot be written.
    """
    if isinstance(subsets, str):
        raise UsageError(f"subsets is {subsets!r}, a text; give a list of names, such as [{subsets!r}]")
    if intent not in (None, *get_args(Choice)):
        raise UsageError(f"there is no intent {intent!r}; there are {', '.join(get_args(Choice))}")
    return formats.export(Path(directory), format, Path(out), options, subsets=subsets, intent=intent)


def push(
    directory: Path | str,
    repo_id: str,
    *,
    tag: str | None = None,
    public: bool = False,
    gate: bool = True,
    dry_run: bool = False,
    token: str | None = None,
    on_event: Callable[[str], None] = lambda _: None,
) -> PushResult:
    """Publish a dataset on the Hub, or what is new in it; it is validated first.

    Args:
        directory: the dataset's.
        repo_id: ``organisation/name``; created if there is none.
        tag: a name of the form ``v1.2.3`` for this version.
        public: let everybody see the repository. Without it, a new one is private and a public one is refused.
        gate: have readers ask for access. A gate that is there already is kept as it is.
        dry_run: only plan; writes nothing to the Hub.
        token: by default the one that `huggingface_hub` finds: HF_TOKEN, or that of `hf auth login`.
        on_event: is told in words what is planned and done.

    Returns:
        What was planned, the commit that holds the dataset, and where to look at it.

    Raises:
        UsageError: the repository's name or the tag is malformed.
        DatasetError: the dataset is not valid; all problems are listed. Or the one on the Hub is of a later version of
            this package, which has to be upgraded first.
        PublishAuthError: no token, or one without write access.
        PublishError: the Hub or its state does not allow it, or it cannot be reached.
    """
    return publish.push(
        Path(directory), repo_id, tag=tag, public=public, gate=gate, dry_run=dry_run, token=token, on_event=on_event
    )
