"""Everything about a build that is settled before its first stage."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mis_dataset.assemble.folder import earlier_rounds, holds, put_back, refuse_strangers
from mis_dataset.crew import Crew, Prints
from mis_dataset.errors import OutputError
from mis_dataset.recipe import Cell, Recipe
from mis_dataset.rounds import first_wanted
from mis_dataset.run.state import stage_folder
from mis_dataset.storage import is_remote, located
from mis_dataset.versions import continued, smaller_version


@dataclass(frozen=True)
class Start:
    """Who works, on what, and what there is already."""

    crew: Crew
    wanted: Mapping[Cell, int]
    """Families to compose in the first round."""
    prints: Prints
    """Of the first round's stages."""
    fingerprint: str
    """Of the dataset."""
    is_complete: bool
    """Whether ``out`` holds this very dataset already."""
    replaces: str
    """The fingerprint of an earlier round of it in ``out``, or of a smaller version; empty if there is none."""
    keeps: bool
    """Whether all rows of what is in ``out`` have to stay as they are: it is a smaller version."""

    @classmethod
    def of(cls, recipe: Recipe, out: Path, work: Path, storage: str = "") -> Start:
        """Check everything that can be checked beforehand.

        Raises:
            MisError: a backend cannot be made, ``storage`` is of no known kind, or ``out`` is not for this dataset.
        """
        for name, place in (("work folder", work), ("storage", located(storage or work))):
            if not is_remote(place):
                _check_folder(name, place, out)
        put_back(out)
        recipe = continued(recipe, out)
        crew, wanted = Crew.of(recipe), first_wanted(recipe.versions[0], recipe.oversample)
        prints = crew.prints(wanted)
        fingerprint = crew.dataset_print(prints)
        smaller = smaller_version(out, recipe, prints)
        replaces = smaller or earlier_rounds(out, recipe.canonical(), prints)
        is_complete = not replaces and holds(out, fingerprint)
        if replaces:
            refuse_strangers(out)
        return cls(crew, wanted, prints, fingerprint, is_complete, replaces, bool(smaller))


def _check_folder(name: str, folder: Path, out: Path) -> None:
    """See that what is to be a folder is one, or may become one, and lies outside the dataset.

    Raises:
        OutputError: it is not.
    """
    if folder.resolve().is_relative_to(out.resolve()):
        raise OutputError(f"the {name} {folder} lies in --out {out}, which has to hold the dataset alone")
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise OutputError(f"the {name} {folder} cannot be made: {there} is no folder; name another place")


@dataclass(frozen=True)
class Intention:
    """What a build would do."""

    text: str
    """For a person."""
    is_complete: bool
    """Whether everything is done already."""


def dry_run(recipe: Recipe, out: Path, work: Path, storage: str = "") -> Intention:
    """What `build` would do; checks what `build` checks first, and does nothing.

    Raises:
        MisError: what `build` would raise before its first stage.
    """
    start = Start.of(recipe, out, work, storage)
    crew, store = start.crew, located(storage or work)
    drawing = ", ".join(map(str, filter(None, (crew.renderer, crew.photographer))))
    who: dict[str, Any] = {
        "compose": crew.composer,
        "render": f"{drawing}{f', checked by {crew.checker}' if crew.checker else ''}",
        "teach": ", criticised by ".join(map(str, (crew.teacher, *crew.critics))),
        "screen": ", ".join(map(str, crew.screeners)),
    }
    there = " is complete already: nothing to do" if start.is_complete else ""
    there = " holds a smaller version, whose rows stay" if start.keeps else there
    rows, families = sum(recipe.quotas.values()), sum(start.wanted.values())
    lines = [
        f"{recipe.name}: {rows} harmful rows and their twins, from {families} families in the first round",
        *(f"  {stage:<8} {stage_folder(store, stage, start.prints[stage])}  {who[stage]}" for stage in who),
        f"  dataset  {out}{there}",
    ]
    return Intention("\n".join(lines), start.is_complete)
