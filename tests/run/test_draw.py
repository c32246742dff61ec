"""Drawing until it is right: redraws of blank images, refinements of images that miss their object."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image
from scenarios import scenario

from mis_dataset.budget import Cost, Limits
from mis_dataset.check import Checked, CheckOrder
from mis_dataset.errors import BudgetError
from mis_dataset.ledger import keeping_ledger
from mis_dataset.records import Attempt, Failed, ImageSpec, Picture, Rejected, Rendered
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.run.draw import Artist, Slot
from mis_dataset.run.images import ImageStore, Stored
from mis_dataset.run.stages import render_scenarios

SLOT: Slot = ("mis-1", 0, "a key")
KEY = ImageSpec("a key", "a photo of a key", harmful=False)
SHOWN = Checked(shows=True, detail="A key.")
MISSED = Checked(shows=False, detail="A lock.", better_prompt="a large brass key")

Look = Checked | Rejected | Failed


@dataclass
class Painter:
    """One colour per seed; blank in the rounds that it is told, counted per object."""

    blank: tuple[int, ...] = ()
    size: int = 8
    seen: list[DrawOrder] = field(init=False, default_factory=list)

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing | Rejected]:
        for order in orders:
            earlier = sum(known.object == order.object for known in self.seen)
            self.seen.append(order)
            if earlier in self.blank:
                yield Rejected("blank", "all white")
            else:
                colour = tuple(order.seed.to_bytes(8, "big")[:3])
                yield Drawing(Image.new("RGB", (self.size, self.size), colour), model="painter", revision="1")


@dataclass
class Critic:
    """Says of each object, one look after another, what it is told; the last word stays."""

    says: Callable[[CheckOrder], Sequence[Look]]
    seen: list[CheckOrder] = field(default_factory=list)
    rounds: int = 0

    def check(self, orders: Sequence[CheckOrder]) -> Iterator[Look]:
        self.rounds += 1
        for order in orders:
            assert order.image.is_file()
            earlier = sum(known.object == order.object for known in self.seen)
            self.seen.append(order)
            words = self.says(order)
            yield words[min(earlier, len(words) - 1)]


@dataclass
class Studio:
    """A painter and a critic at work in a folder of their own."""

    root: Path
    painter: Painter
    critic: Critic | None

    def artist(self, redraws: int = 2, refinements: int = 1, seed: int = 7) -> Artist:
        return Artist(self.painter, ImageStore(self.root), seed, redraws, self.critic, refinements)

    def draw(self, **limits: int) -> Picture | Rejected | Failed:
        """What becomes of the key."""
        return self.artist(**limits).draw({SLOT: KEY}, lambda _: None)[SLOT]


@pytest.fixture
def studio(tmp_path: Path) -> Callable[..., Studio]:
    def make(*words: Look, blank: tuple[int, ...] = ()) -> Studio:
        return Studio(tmp_path / "images", Painter(blank), Critic(lambda order: words) if words else None)

    return make


def told(work: Studio, thing: str = "a key") -> str:
    """What a rejection tells of the attempts at an object, each of which the critic saw and turned down."""
    drawn = [order for order in work.painter.seen if order.object == thing]
    shown = [order.image for order in work.critic.seen if order.object == thing]
    return "; ".join(
        f"attempt {number} from {order.prompt!r}, seed {order.seed}, sha256 {image.stem}, not_shown: A lock."
        for number, (order, image) in enumerate(zip(drawn, shown, strict=True), 1)
    )


def attempts(picture: Picture | Rejected | Failed) -> tuple[Attempt, ...]:
    assert isinstance(picture, Picture)
    return picture.attempts


# A picture that shows its object


def test_without_a_checker_the_first_picture_is_kept_and_has_no_history(studio):
    picture = studio().draw()
    assert (picture.attempt, picture.attempts) == (0, ())


def test_a_picture_that_shows_its_object_is_kept_with_what_the_checker_saw(studio):
    picture = studio(SHOWN).draw()
    assert picture.attempt == 0
    assert picture.attempts == (Attempt(KEY.prompt, picture.seed, "kept", "A key.", picture.sha256),)


def test_the_checker_is_given_the_object_its_prompt_and_its_image_alone(studio):
    work = studio(SHOWN)
    picture = work.draw()
    assert work.critic.seen == [CheckOrder("a key", KEY.prompt, work.root / picture.path)]


# A picture that does not


def test_a_missed_object_is_drawn_again_from_the_better_prompt(studio):
    work = studio(MISSED, SHOWN)
    picture = work.draw()
    assert [order.prompt for order in work.painter.seen] == [KEY.prompt, "a large brass key"]
    assert [order.prompt for order in work.critic.seen] == [KEY.prompt, "a large brass key"]
    assert (picture.prompt, picture.attempt) == ("a large brass key", 1)


def test_every_attempt_is_recorded_with_its_prompt_seed_verdict_and_image(studio):
    work = studio(MISSED, SHOWN)
    first, last = attempts(work.draw())
    assert (first.outcome, last.outcome) == ("not_shown", "kept")
    assert (first.prompt, last.prompt) == (KEY.prompt, "a large brass key")
    assert (first.detail, last.detail) == ("A lock.", "A key.")
    assert [first.seed, last.seed] == [order.seed for order in work.painter.seen]
    # The picture that was turned down can still be looked at.
    store = ImageStore(work.root)
    assert all(store.is_intact(store.path_of(attempt.sha256), attempt.sha256) for attempt in (first, last))


def test_each_attempt_has_a_seed_of_its_own(studio):
    work = studio(replace(MISSED, better_prompt=""), MISSED, SHOWN)
    work.draw(refinements=2)
    assert len({order.seed for order in work.painter.seen}) == 3


def test_without_a_better_prompt_the_same_is_drawn_from_another_seed(studio):
    work = studio(replace(MISSED, better_prompt=""), SHOWN)
    work.draw()
    assert [order.prompt for order in work.painter.seen] == [KEY.prompt] * 2


def test_a_better_prompt_stays_until_there_is_a_better_one(studio):
    work = studio(MISSED, replace(MISSED, better_prompt=""), SHOWN)
    work.draw(refinements=2)
    assert [order.prompt for order in work.painter.seen] == [KEY.prompt, "a large brass key", "a large brass key"]


@pytest.mark.parametrize("refinements", [0, 1, 3])
def test_a_picture_that_never_shows_its_object_is_rejected(studio, refinements):
    work = studio(MISSED)
    # There is no picture to keep its attempts with: the rejection tells prompt, seed and image of each.
    assert work.draw(refinements=refinements) == Rejected("not_shown", told(work))
    assert len(work.painter.seen) == len(work.critic.seen) == refinements + 1


def test_a_rejection_tells_of_blank_attempts_as_well(studio):
    work = studio(MISSED, blank=(0,))
    rejected = work.draw(refinements=0)
    first, last = work.painter.seen
    (order,) = work.critic.seen
    assert rejected.detail == (
        f"attempt 1 from 'a photo of a key', seed {first.seed}, sha256 none, blank: all white; "
        f"attempt 2 from 'a photo of a key', seed {last.seed}, sha256 {order.image.stem}, not_shown: A lock."
    )


# Two budgets


def test_blank_pictures_are_not_shown_to_the_checker(studio):
    work = studio(SHOWN, blank=(0, 1))
    assert [attempt.outcome for attempt in attempts(work.draw())] == ["blank", "blank", "kept"]
    assert len(work.critic.seen) == 1


# Each budget is used up to its end, in whatever order the two kinds of trouble come.
@pytest.mark.parametrize("blank", [(0, 2), (1, 2), (0, 1), (2, 3)])
def test_redraws_and_refinements_do_not_eat_each_other_up(studio, blank):
    work = studio(MISSED, MISSED, SHOWN, blank=blank)
    picture = work.draw(redraws=2, refinements=2)
    assert picture.attempt == 4
    outcomes = [attempt.outcome for attempt in attempts(picture)]
    assert sorted(outcomes[:-1]) == ["blank", "blank", "not_shown", "not_shown"]


def test_a_refined_picture_that_stays_blank_is_rejected_as_blank(studio):
    work = studio(MISSED, blank=(1, 2, 3))
    assert work.draw(redraws=1, refinements=5) == Rejected("blank", "all white")
    assert len(work.painter.seen) == 3


# A checker that cannot check


@pytest.mark.parametrize("trouble", [Rejected("malformed", "no JSON"), Failed("timed_out", "late")])
def test_a_picture_that_cannot_be_checked_fails_and_is_not_drawn_again(studio, trouble):
    work = studio(trouble)
    assert work.draw(refinements=3) == Failed(f"check_{trouble.reason}", trouble.detail)
    assert len(work.painter.seen) == 1


def test_a_refined_picture_that_cannot_be_checked_fails(studio):
    assert studio(MISSED, Rejected("refused", "no")).draw() == Failed("check_refused", "no")


# Beside the renderer


@dataclass
class Printer(Painter):
    """Gives whole batches at once, and says when it is asked for the second."""

    batch: int = 16
    is_asked_again: threading.Event = field(default_factory=threading.Event)

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing | Rejected]:
        for number, drawing in enumerate(super().render(orders)):
            if number == self.batch:
                self.is_asked_again.set()
            yield replace(drawing, batch=self.batch) if isinstance(drawing, Drawing) else drawing


@dataclass
class SlowStore(ImageStore):
    """Keeps no image before something has happened."""

    root: Path
    happens: threading.Event

    def save(self, image: Image.Image) -> Stored:
        if not self.happens.wait(10):
            self.happens.set()
            raise TimeoutError
        return super().save(image)


def test_the_next_batch_is_begun_before_the_last_is_encoded(tmp_path):
    printer = Printer()
    artist = Artist(printer, SlowStore(tmp_path, printer.is_asked_again), 7, 0)
    drawn = artist.draw({("mis-1", number, "a key"): KEY for number in range(2 * printer.batch)}, lambda _: None)
    assert len({picture.sha256 for picture in drawn.values()}) == 2 * printer.batch


# What it costs


@dataclass
class Accelerated(Painter):
    """Paints on what it says is a GPU, as many at once as it is told; the first of a batch takes the time."""

    batch: int = 1
    seconds: float = 0.001

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing | Rejected]:
        for number, drawing in enumerate(super().render(orders)):
            time.sleep(0 if number % self.batch else self.seconds)
            yield replace(drawing, device="cuda", batch=self.batch) if isinstance(drawing, Drawing) else drawing


@dataclass
class OnTheGpu(Accelerated):
    """Says beforehand that it needs one."""

    wants_gpu: ClassVar[bool] = True


def draw_keys(root: Path, painter: Painter, slots: int, limits: Limits | None = None) -> tuple[Cost, ...]:
    """What drawing so many keys was charged with."""
    with keeping_ledger(root / "ledger.sqlite", limits=limits) as ledger, ledger.charging("render-1"):
        artist = Artist(painter, ImageStore(root / "images"), 7, 2)
        artist.draw({("mis-1", number, "a key"): KEY for number in range(slots)}, lambda _: None)
        return ledger.costs()


def test_images_drawn_on_an_accelerator_are_charged_with_its_seconds(tmp_path):
    (cost,) = draw_keys(tmp_path, Accelerated(batch=3), 3)
    assert (cost.stage, cost.model, cost.images) == ("render", "painter", 3)
    assert 0.001 <= cost.seconds < 10


def test_images_drawn_on_the_cpu_cost_nothing(tmp_path):
    assert draw_keys(tmp_path, Painter(), 3) == ()


@dataclass
class WithoutItsGpu(Painter):
    """Wants a GPU, and draws on the CPU where there is none."""

    wants_gpu: ClassVar[bool] = True


def test_images_of_a_renderer_that_wants_a_gpu_are_timed_on_the_cpu_too(tmp_path):
    # So that a sample tells how long a build will take there.
    (cost,) = draw_keys(tmp_path, WithoutItsGpu(), 3)
    assert (cost.images, cost.seconds > 0) == (3, True)


SPENT = Limits(max_gpu_seconds=0.0005)
"""Less than one image takes."""


def test_a_renderer_that_wants_a_gpu_draws_nothing_once_the_limit_is_reached(tmp_path):
    draw_keys(tmp_path, OnTheGpu(), 1)
    painter = OnTheGpu()
    with pytest.raises(BudgetError, match="max_gpu_seconds"):
        draw_keys(tmp_path, painter, 9, SPENT)
    assert painter.seen == []


def test_a_renderer_that_turns_out_to_use_a_gpu_stops_after_one(tmp_path):
    draw_keys(tmp_path, OnTheGpu(), 1)
    painter = Accelerated()
    with pytest.raises(BudgetError, match="max_gpu_seconds"):
        draw_keys(tmp_path, painter, 9, SPENT)
    assert len(painter.seen) == 1


def test_a_renderer_on_the_cpu_draws_on_whatever_the_gpu_spent(tmp_path):
    draw_keys(tmp_path, OnTheGpu(), 1)
    painter = Painter()
    (cost,) = draw_keys(tmp_path, painter, 9, SPENT)
    assert (len(painter.seen), cost.images) == (9, 1)


def test_a_batch_comes_in_as_a_whole_and_the_last_may_use_up_the_limit(tmp_path):
    # The first of a batch is charged while the rest is unpacked, and what was drawn must not be thrown away.
    with pytest.raises(BudgetError, match="max_gpu_seconds"):
        draw_keys(tmp_path / "one", OnTheGpu(batch=20), 60, SPENT)
    resumed = OnTheGpu(batch=20)
    (cost,) = draw_keys(tmp_path / "one", resumed, 20, SPENT)
    assert (resumed.seen, cost.images) == ([], 20)
    draw_keys(tmp_path / "other", OnTheGpu(batch=20), 20, SPENT)


# What is drawn once


def test_what_was_drawn_before_a_limit_is_not_drawn_again(tmp_path):
    stopped, resumed, steady = OnTheGpu(), OnTheGpu(), OnTheGpu()
    with pytest.raises(BudgetError):
        draw_keys(tmp_path / "one", stopped, 60, Limits(max_gpu_seconds=0.005))
    assert 0 < len(stopped.seen) < 60
    (cost,) = draw_keys(tmp_path / "one", resumed, 60)
    draw_keys(tmp_path / "other", steady, 60)
    assert stopped.seen + resumed.seen == steady.seen
    assert cost.images == 60


def test_a_lost_check_draws_nothing_again(tmp_path):
    def look(*words: Look) -> tuple[Picture | Rejected | Failed, Painter]:
        work = Studio(tmp_path / "images", Painter((1,)), Critic(lambda order: words))
        with keeping_ledger(tmp_path / "ledger.sqlite"):
            return work.draw(), work.painter

    lost, first = look(MISSED, Failed("timed_out", "late"))
    kept, again = look(MISSED, SHOWN)
    assert (lost, len(first.seen)) == (Failed("check_timed_out", "late"), 3)
    # The key, a blank picture, and the key from a better prompt: all three are known, and so is what befell them.
    assert again.seen == []
    assert [attempt.outcome for attempt in attempts(kept)] == ["not_shown", "blank", "kept"]
    assert kept == Studio(tmp_path / "steady", Painter((1,)), Critic(lambda order: [MISSED, SHOWN])).draw()


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"?")], ids=["missing", "damaged"])
def test_a_picture_whose_file_is_not_intact_is_drawn_again(tmp_path, spoil):
    first, again = OnTheGpu(), OnTheGpu()
    draw_keys(tmp_path, first, 3)
    before = {path: path.read_bytes() for path in (tmp_path / "images").rglob("*.png")}
    victim = sorted(before)[1]
    spoil(victim)
    (cost,) = draw_keys(tmp_path, again, 3)
    assert {path: path.read_bytes() for path in before} == before
    assert len(again.seen) == 1
    # Drawn twice, paid twice.
    assert cost.images == 4


@pytest.mark.parametrize("other", [partial(Painter, size=9), OnTheGpu], ids=["setting", "backend"])
def test_another_renderer_shares_no_pictures(tmp_path, other):
    draw_keys(tmp_path, Painter(), 3)
    painter = other()
    draw_keys(tmp_path, painter, 3)
    assert len(painter.seen) == 3


# Several pictures


def drawn(work: Studio, **limits: int) -> list[Rendered | Rejected | Failed]:
    """What becomes of a scenario with a key and a door, and of its twin with a key and a loaf."""
    harmful = scenario()
    loaf = replace(harmful.images[1], object="a loaf")
    twin = replace(harmful, id="mis-twin", intent="benign", images=(harmful.images[0], loaf))
    return [item.outcome for item in render_scenarios(work.artist(**limits), [harmful, twin], lambda _: None)]


def test_twins_share_a_refined_picture(tmp_path):
    work = Studio(tmp_path, Painter(), Critic(lambda order: [MISSED, SHOWN] if order.object == "a key" else [SHOWN]))
    harmful, benign = drawn(work)
    assert harmful.pictures[0] == benign.pictures[0]
    assert [picture.attempt for picture in (*harmful.pictures, *benign.pictures)] == [1, 0, 1, 0]
    # Three pictures, and the key once more; asked about in two rounds, not one by one.
    assert (len(work.painter.seen), len(work.critic.seen), work.critic.rounds) == (4, 4, 2)


def test_a_shared_picture_that_never_shows_its_object_rejects_both_twins(tmp_path):
    work = Studio(tmp_path, Painter(), Critic(lambda order: [MISSED] if order.object == "a key" else [SHOWN]))
    assert drawn(work) == [Rejected("not_shown", f"first image (a key): {told(work)}")] * 2


def test_a_twins_own_trouble_leaves_the_other_alone(tmp_path):
    work = Studio(tmp_path, Painter(), Critic(lambda order: [MISSED] if order.object == "a loaf" else [SHOWN]))
    harmful, benign = drawn(work)
    assert isinstance(harmful, Rendered)
    assert benign == Rejected("not_shown", f"second image (a loaf): {told(work, 'a loaf')}")


def test_a_picture_does_not_depend_on_the_trouble_of_others(tmp_path):
    calm = Studio(tmp_path, Painter(), Critic(lambda order: [SHOWN]))
    troubled = Studio(
        tmp_path, Painter(), Critic(lambda order: [MISSED, SHOWN] if order.object == "a key" else [SHOWN])
    )
    assert drawn(calm)[0].pictures[1] == drawn(troubled)[0].pictures[1]


def test_the_recipes_seed_counts(studio):
    one, other = studio(SHOWN).draw(seed=1), studio(SHOWN).draw(seed=2)
    assert one.seed != other.seed
