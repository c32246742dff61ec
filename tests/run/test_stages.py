"""What stages do with outcomes: redraws, shared pictures, verdicts in turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image
from scenarios import scenario

from mis_dataset.errors import DamagedImageError
from mis_dataset.records import Failed, Label, Labelled, Rejected, Rendered, Scenario, Screened, Verdict
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.run.draw import Artist
from mis_dataset.run.images import ImageStore
from mis_dataset.run.stages import School, Studio, render_scenarios, screen_rows
from mis_dataset.teach import LabelRequest


@dataclass
class PlainRenderer:
    """A renderer that a user might write: one colour per seed; blank for the first ``blanks`` draws of each object."""

    blanks: int = 0
    seen: list[DrawOrder] = field(default_factory=list)

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing | Rejected]:
        for order in orders:
            earlier = sum(known.object == order.object for known in self.seen)
            self.seen.append(order)
            if order.object == "a ghost":
                yield Rejected("no_icon", "nobody has seen one")
            elif earlier < self.blanks:
                yield Rejected("blank", "all white")
            else:
                colour = tuple(order.seed.to_bytes(8, "big")[:3])
                yield Drawing(Image.new("RGB", (8, 8), colour), model="plain", revision="1")


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def drawn(renderer: PlainRenderer, images: ImageStore, scenarios: list[Scenario], redraws: int = 2) -> list[object]:
    return [item.outcome for item in render_scenarios(Artist(renderer, images, 7, redraws), scenarios, lambda _: None)]


def test_pictures_are_kept_under_their_content(images: ImageStore):
    (row,) = drawn(PlainRenderer(), images, [scenario()])
    assert isinstance(row, Rendered)
    assert [picture.prompt for picture in row.pictures] == ["a photo of a key", "a photo of a door"]
    images.verify([row])
    (images.root / row.pictures[0].path).write_bytes(b"damaged")
    with pytest.raises(DamagedImageError, match=row.pictures[0].sha256):
        images.verify([row])


def test_twins_share_the_picture_of_what_they_have_in_common(images: ImageStore):
    harmful = scenario()
    swapped = replace(harmful.images[1], object="a loaf")
    benign = replace(harmful, id="mis-benign", intent="benign", images=(harmful.images[0], swapped))
    renderer = PlainRenderer()
    one, other = drawn(renderer, images, [harmful, benign])
    assert one.pictures[0] == other.pictures[0]
    assert one.pictures[1] != other.pictures[1]
    assert len(renderer.seen) == 3


def test_seeds_do_not_depend_on_what_else_is_in_the_shard(images: ImageStore):
    alone = drawn(PlainRenderer(), images, [scenario(5)])
    together = drawn(PlainRenderer(), images, [scenario(number) for number in range(9)])
    assert alone[0] == together[5]


def test_a_blank_image_is_drawn_again_from_another_seed(images: ImageStore):
    renderer = PlainRenderer(blanks=2)
    (row,) = drawn(renderer, images, [scenario()], redraws=2)
    assert [picture.attempt for picture in row.pictures] == [2, 2]
    assert len({order.seed for order in renderer.seen}) == 6


def test_an_image_that_stays_blank_rejects_its_scenario(images: ImageStore):
    (row,) = drawn(PlainRenderer(blanks=9), images, [scenario()], redraws=1)
    assert row == Rejected("blank", "first image (a key): all white")


def test_any_other_rejection_is_final(images: ImageStore):
    haunted = replace(scenario(), images=(scenario().images[0], replace(scenario().images[1], object="a ghost")))
    renderer = PlainRenderer()
    (row,) = drawn(renderer, images, [haunted])
    assert row == Rejected("no_icon", "second image (a ghost): nobody has seen one")
    assert len(renderer.seen) == 2


def mixed(count: int) -> list[Scenario]:
    """Every third scenario is of `real`."""
    return [replace(scenario(number), subset="hard" if number % 3 else "real") for number in range(count)]


def test_photographs_are_left_to_the_photographer(images: ImageStore):
    drawing, photographing = PlainRenderer(), PlainRenderer()
    work = Studio(Artist(drawing, images, 7, 2), photographing)
    rows = [item.outcome for item in work.render(mixed(5), lambda _: None)]
    assert [row.scenario for row in rows if isinstance(row, Rendered)] == mixed(5)
    assert (len(drawing.seen), len(photographing.seen)) == (6, 4)
    # Whoever makes a picture, its seed is that of its place.
    alone = [item.outcome for item in render_scenarios(Artist(PlainRenderer(), images, 7, 2), mixed(5), lambda _: None)]
    assert rows == alone


def test_the_photographer_works_under_the_artists_rules(images: ImageStore):
    work = Studio(Artist(PlainRenderer(), images, 7, max_redraws=1), PlainRenderer(blanks=9))
    real, _, _ = (item.outcome for item in work.render(mixed(3), lambda _: None))
    assert real == Rejected("blank", "first image (a key): all white")


def test_a_shard_of_both_kinds_is_done_once(images: ImageStore):
    ticks: list[float] = []
    list(Studio(Artist(PlainRenderer(), images, 7, 2), PlainRenderer()).render(mixed(7), ticks.append))
    assert len(ticks) == 14
    assert sum(ticks) == pytest.approx(1)


def test_real_without_a_photographer_is_a_mistake_in_the_program(images: ImageStore):
    with pytest.raises(ValueError, match="no photographer"):
        list(Studio(Artist(PlainRenderer(), images, 7, 2)).render(mixed(3), lambda _: None))


LABEL = Label(("A key.", "A door."), "It fits.", "No.", "me", "1", "", 0, 0)


@dataclass
class MoodyTeacher:
    def teach(self, requests: Sequence[LabelRequest]) -> Iterator[Label | Rejected | Failed]:
        for request in requests:
            assert all(path.exists() for path in request.images)
            yield {1: Rejected("refused", "no"), 2: Failed("timeout", "late")}.get(int(request.scenario.id[-1]), LABEL)


def test_a_teachers_outcomes_are_kept_apart(images: ImageStore):
    rows = [
        row
        for row in drawn(PlainRenderer(), images, [scenario(number) for number in range(3)])
        if isinstance(row, Rendered)
    ]
    labelled, rejected, failed = (item.outcome for item in School(MoodyTeacher(), images).teach(rows, lambda _: None))
    assert labelled == Labelled(rows[0].scenario, rows[0].pictures, LABEL)
    assert rejected == Rejected("refused", "no")
    assert failed == Failed("timeout", "late")


@dataclass
class Judge:
    name: str
    verdicts: dict[str, str]
    seen: list[str] = field(default_factory=list)

    def screen(self, rows: Sequence[Labelled]) -> Iterator[Verdict]:
        for row in rows:
            self.seen.append(row.scenario.id)
            yield Verdict(self.name, self.verdicts.get(row.scenario.id[-1], "pass"), "why", "because")


def test_screeners_judge_in_turn_and_cannot_judge_is_no_verdict(images: ImageStore):
    rows = [Labelled(scenario(number), (), LABEL) for number in range(3)]
    first, second = Judge("first", {"1": "fail"}), Judge("second", {"2": "cannot_judge"})
    passed, rejected, failed = (item.outcome for item in screen_rows([first, second], images, rows, lambda _: None))
    assert isinstance(passed, Screened)
    assert [verdict.judge for verdict in passed.verdicts] == ["first", "second"]
    assert rejected == Rejected("why", "first: because")
    assert failed == Failed("why", "second: because")
    assert second.seen == [rows[0].scenario.id, rows[2].scenario.id]
