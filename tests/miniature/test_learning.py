import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.miniature.answer import answers
from benchmarks.miniature.base import train_base, train_tower
from benchmarks.miniature.data import Row, Rows, things
from benchmarks.miniature.lessons import NAMING, Course, complied, named
from benchmarks.miniature.machine import Machine
from benchmarks.miniature.model import make_model, make_processor
from benchmarks.miniature.pictures import Album
from benchmarks.miniature.tune import fine_tune
from benchmarks.miniature.variants import REFUSAL, VARIANTS

CPU = Machine("cpu")


@pytest.fixture(scope="module")
def rows(world: Rows) -> tuple[Row, ...]:
    return world.in_kind[:8]


@pytest.fixture(scope="module")
def course(rows: tuple[Row, ...]) -> Course:
    return Course(things(rows), rows, frozenset())


@pytest.fixture(scope="module")
def album(course: Course) -> Album:
    return Album.of(course.things, 4)


@pytest.fixture(scope="module")
def processor(rows: tuple[Row, ...]) -> Any:
    texts = [text for row in rows for text in (row.question, row.response, named(*row.objects), complied(*row.objects))]
    return make_processor([*texts, *NAMING, REFUSAL])


def small(processor: Any) -> Any:
    return make_model(processor, width=64, layers=2, seed=0)


def silent(text: str) -> None:
    pass


def test_the_tower_learns_to_tell_things_apart(processor: Any, album: Album):
    loss = train_tower(small(processor), album, 40, seed=0, machine=CPU, tell=silent)

    assert loss < math.log(len(album.names)) / 2


def test_the_base_model_learns_and_leaves_its_tower_alone(processor: Any, album: Album, course: Course):
    model = small(processor)
    tower = {name: value.clone() for name, value in model.model.vision_tower.state_dict().items()}
    # The last batch is one for naming.
    loss = train_base(model, processor, album, course, 65, seed=0, machine=CPU, tell=silent, lr=5e-3)

    assert loss < math.log(len(processor.tokenizer)) / 2
    assert all(torch.equal(value, tower[name]) for name, value in model.model.vision_tower.state_dict().items())


def test_fine_tuning_changes_what_a_copy_says(processor: Any, rows: tuple[Row, ...], tmp_path: Path):
    base = small(processor)
    base.model.vision_tower.requires_grad_(False)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    examples = VARIANTS["b"].examples(rows, iter(()), share=0)
    tuned = fine_tune(base, processor, examples, tmp_path, epochs=30, seed=0, machine=CPU, lr=5e-3)

    assert answers(tuned, processor, [(rows[0].question, rows[0].images)], CPU) == [
        "i'm sorry , i can't help with that ."
    ]
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
