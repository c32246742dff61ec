"""The crew of a build: every backend that its recipe names, and the fingerprints of what they make."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mis_dataset import __version__
from mis_dataset.backends import make_backend, missing_environment
from mis_dataset.check import Checker
from mis_dataset.compose import Composer
from mis_dataset.errors import BackendError, MisError
from mis_dataset.options import content_digest, identity
from mis_dataset.recipe import BackendSpec, Cell, Recipe
from mis_dataset.records import Labelled, Rendered, Screened
from mis_dataset.render import Renderer
from mis_dataset.resources import resource
from mis_dataset.run.draw import Artist
from mis_dataset.run.images import ImageStore
from mis_dataset.run.stage import Stage
from mis_dataset.run.stages import School, Studio, screen_rows
from mis_dataset.screen import Screener
from mis_dataset.seeds import stable_digest
from mis_dataset.tables import BenchmarkSettings
from mis_dataset.teach import Teacher

Prints = Mapping[str, str]
"""Per stage, a hash of everything that can change its output, the stages before it included."""


@dataclass(frozen=True)
class Crew:
    """Who does what."""

    recipe: Recipe
    composer: Composer
    renderer: Renderer
    photographer: Renderer | None
    """Finds the photographs of ``real``."""
    checker: Checker | None
    teacher: Teacher
    critics: tuple[Screener, ...]
    screeners: tuple[Screener, ...]
    benchmarks: tuple[BenchmarkSettings, ...]
    """To which no row may come near."""

    @classmethod
    def of(cls, recipe: Recipe) -> Crew:
        """Make every backend; cheap, and what they can check is checked.

        Raises:
            MisError: some cannot be made, or environment variables with their keys are not set; all of that at once.
        """
        hiring = _Hiring()
        crew = cls(
            recipe,
            composer=hiring.make(recipe.compose),
            renderer=hiring.make(recipe.render),
            photographer=hiring.make(recipe.real) if recipe.real else None,
            checker=hiring.make(recipe.check) if recipe.check else None,
            teacher=hiring.make(recipe.teach),
            critics=tuple(map(hiring.make, recipe.critics)),
            screeners=tuple(map(hiring.make, recipe.screen)),
            benchmarks=tuple(BenchmarkSettings(**settings) for settings in recipe.benchmarks),
        )
        hiring.done()
        return crew

    def environment(self) -> set[str]:
        """The environment variables, such as keys, that backends read."""
        optional = filter(None, (self.photographer, self.checker))
        everybody = (self.composer, self.renderer, self.teacher, *optional, *self.critics, *self.screeners)
        return {name for backend in everybody for name in getattr(backend, "environment", ())}

    def prints(self, wanted: Mapping[Cell, int], known: Collection[str] = ()) -> Prints:
        """The fingerprints of a round's stages.

        Args:
            wanted: families to compose per cell, those of the rounds before included.
            known: the ids of what the rounds before composed, which this one leaves out.
        """
        recipe = self.recipe
        compose = stable_digest(
            "compose", recipe.seed, sorted(wanted.items()), recipe.twins, identity(self.composer), *sorted(known)
        )
        optional: list[Any] = [identity(self.photographer)] if self.photographer else []
        optional += [(identity(self.checker), recipe.max_refinements)] if self.checker else []
        render = stable_digest("render", compose, recipe.max_redraws, identity(self.renderer), *optional)
        criticism = (*map(identity, self.critics), recipe.max_rewrites) if self.critics else ()
        teach = stable_digest("teach", render, identity(self.teacher), *criticism)
        screen = stable_digest("screen", teach, *map(identity, self.screeners))
        return {"compose": compose, "render": render, "teach": teach, "screen": screen}

    def stages(self, images: ImageStore) -> tuple[Stage[Any, Any], ...]:
        """The stages after compose, with who does them."""
        recipe = self.recipe
        artist = Artist(self.renderer, images, recipe.seed, recipe.max_redraws, self.checker, recipe.max_refinements)
        studio = Studio(artist, self.photographer)
        school = School(self.teacher, images, self.critics, recipe.max_rewrites)
        return (
            Stage("render", Rendered, studio.render, images.lacks),
            Stage("teach", Labelled, school.teach),
            Stage("screen", Screened, partial(screen_rows, self.screeners, images)),
        )

    def dataset_print(self, first: Prints) -> str:
        """The fingerprint of the whole dataset.

        Args:
            first: those of the first round; what the later ones compose follows from it.
        """
        card = content_digest(resource("dataset_card"))
        near = map(identity, self.benchmarks)
        return stable_digest("dataset", __version__, first["screen"], self.recipe.canonical(), card, *near)


class _Hiring:
    """Makes backends, and tells in the end what all of them lack."""

    def __init__(self) -> None:
        self._problems: dict[str, MisError] = {}
        self._unset: set[str] = set()

    def make(self, spec: BackendSpec) -> Any:
        """The backend; None if it cannot be made, which `done` tells."""
        try:
            backend = make_backend(spec.stage, spec.backend, spec.options)
        except MisError as error:
            self._problems.setdefault(str(error), error)
            return None
        self._unset.update(missing_environment(backend))
        return backend

    def done(self) -> None:
        problems = list(self._problems.values())
        if self._unset:
            names = " and ".join(sorted(self._unset))
            problems.append(BackendError(f"set the environment variable {names}: the recipe's servers want a key"))
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise BackendError(
                "\n".join(["the recipe cannot be built yet:", *(f"  - {problem}" for problem in problems)])
            )
