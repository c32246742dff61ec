"""The experiment: for each seed a base model, its fine-tuned copies, and their scores on the held-out rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.miniature.base import train_base, train_tower
from benchmarks.miniature.data import Row, Rows, build_rows, things
from benchmarks.miniature.judge import Judge
from benchmarks.miniature.lessons import NAMING, Course, complied, named
from benchmarks.miniature.machine import Machine
from benchmarks.miniature.model import make_model, make_processor
from benchmarks.miniature.outcome import Score, load, save, score
from benchmarks.miniature.parallel import side_by_side
from benchmarks.miniature.pictures import Album
from benchmarks.miniature.tune import fine_tune
from benchmarks.miniature.variants import REFUSAL, VARIANTS, general_examples
from mis_dataset.recipe import Recipe
from mis_dataset.seeds import stable_digest

Tell = Callable[[str], None]


def tell(text: str) -> None:
    """Say how things go, on stderr."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    drawings: int = 100
    """Of each thing, for the base model's lessons."""
    tower_steps: int = 2000
    base_steps: int = 1200
    epochs: int = 4
    """Of fine-tuning."""
    lr: float = 5e-4
    """Of fine-tuning."""
    general_share: float = 1 / 3
    """General rows' share of what is learned in fine-tuning. The paper's is 11%; so small a model forgets sooner.

    This and the learning rate were chosen on the validation rows.
    """
    diets: tuple[tuple[str, str], ...] = (("in_kind", "abcde"), ("published", "abcd"))
    """Which rows are fine-tuned on, and by which variants."""
    relations: tuple[str, ...] | None = None
    """Keep only rows of these relations; None for all."""
    validating: bool = False
    """Whether models are compared on the validation rows, for choosing settings, and not on the held-out ones."""

    @property
    def models(self) -> list[tuple[str, str]]:
        """The models of a seed, by diet and variant, in order; the base model first."""
        return [("", "base"), *((diet, variant) for diet, variants in self.diets for variant in variants)]

    def rows(self, work: Path, recipe: Recipe | None = None) -> Rows:
        """The rows that the plan is about; the dataset is built below ``work``, by the miniature's recipe or another.

        Raises:
            MisError: see `mis_dataset.pipeline.build`.
        """
        return self.keep(build_rows(work, recipe, validating=self.validating))

    def keep(self, rows: Rows) -> Rows:
        """The rows of this plan's relations."""
        if (wanted := self.relations) is None:
            return rows
        parts = (rows.published, rows.in_kind, rows.held_out)
        return Rows(*(tuple(row for row in part if row.relation in wanted) for part in parts))


FULL = Plan()
QUICK = Plan(
    drawings=40,
    tower_steps=250,
    base_steps=250,
    epochs=3,
    lr=1e-3,
    diets=(("in_kind", "ab"),),
    relations=("person-place", "before-after"),
)
"""Two kinds of scenario and some fifty things: whether learning happens, and no more."""


@dataclass(frozen=True)
class Lab:
    """What all seeds share; what is slow to make is made where it is first used, not sent from process to process."""

    plan: Plan
    rows: Rows
    work: Path
    """Where scores are kept."""
    machine: Machine
    tell: Tell

    @cached_property
    def things(self) -> list[str]:
        """All that is shown, by name."""
        return things(self.every)

    @property
    def every(self) -> tuple[Row, ...]:
        """All rows."""
        return self.rows.learned + self.rows.held_out

    @cached_property
    def album(self) -> Album:
        """The drawings for the base model's lessons."""
        return Album.of(self.things, self.plan.drawings)

    @cached_property
    def course(self) -> Course:
        """The base model's lessons."""
        return Course(self.things, self.rows.learned, frozenset(row.pair for row in self.rows.held_out))

    @cached_property
    def processor(self) -> Any:
        """A `transformers` processor that knows every word that may be used."""
        texts = [text for row in self.every for text in (row.question, row.response)]
        texts += [text for name in self.things for text in (named(name, name), complied(name, name))]
        return make_processor([*texts, *NAMING, REFUSAL])

    @cached_property
    def judge(self) -> Judge:
        """Who tells what a model's answers come to."""
        return Judge(self.every)

    def all_scores(self, seeds: Iterable[int]) -> list[Score]:
        """The scores of every seed; those that are not kept yet are made side by side."""
        seeds = list(seeds)
        side_by_side(self.scores, [seed for seed in seeds if len(self._so_far(seed)) < len(self.plan.models)])
        return [score for seed in seeds for score in self.scores(seed)]

    def scores(self, seed: int) -> list[Score]:
        """The scores of one seed's models; each is kept as soon as it is there, and the base model with them."""
        tell = _timed(self.tell, f"seed {seed}")
        base = cache(partial(self.base, seed, tell))
        scores = self._so_far(seed)
        for diet, variant in self.plan.models[len(scores) :]:
            model = self.tuned(base(), diet, variant, seed) if diet else base()
            held_out = self.rows.held_out
            found = score(model, self.processor, held_out, self.judge, self.machine, diet, variant, seed)
            scores.append(found)
            save(scores, self.kept(seed))
            tell(f"{diet} ({variant}) fine-tuned and scored" if diet else "base model scored")
        return scores

    def base(self, seed: int, tell: Tell) -> Any:
        """A base model, trained from scratch if it is not kept yet."""
        import torch

        model = make_model(self.processor, seed=seed)
        kept = self.kept(seed).with_suffix(".pt")
        if kept.exists():
            model.load_state_dict(torch.load(kept, weights_only=True))
            model.model.vision_tower.requires_grad_(False)
            return model.to(self.machine.device)
        model.to(self.machine.device)
        how: Any = {"seed": seed, "machine": self.machine, "tell": tell}
        train_tower(model, self.album, self.plan.tower_steps, **how)
        train_base(model, self.processor, self.album, self.course, self.plan.base_steps, **how)
        torch.save(model.state_dict(), kept.with_suffix(".tmp"))
        kept.with_suffix(".tmp").replace(kept)
        return model

    def tuned(self, base: Any, diet: str, variant: str, seed: int) -> Any:
        """A copy of a base model, fine-tuned as the variant says."""
        rows = getattr(self.rows, diet)
        general = general_examples(self.course, self.album, seed)
        examples = VARIANTS[variant].examples(rows, general, self.plan.general_share)
        return fine_tune(
            base,
            self.processor,
            examples,
            self.work / "trl",
            epochs=self.plan.epochs,
            lr=self.plan.lr,
            seed=seed,
            machine=self.machine,
        )

    def kept(self, seed: int) -> Path:
        """Where a seed's scores are kept: a file of its own for every plan, machine and choice of rows."""
        made_of = stable_digest(self.plan, self.machine, *(row.id for row in self.every))
        return self.work / f"seed-{seed}-{made_of[:12]}.json"

    def _so_far(self, seed: int) -> list[Score]:
        return load(self.kept(seed)) if self.kept(seed).exists() else []


def _timed(tell: Tell, name: str) -> Tell:
    start = monotonic()
    return lambda text: tell(f"[{name}, {monotonic() - start:4.0f} s] {text}")
