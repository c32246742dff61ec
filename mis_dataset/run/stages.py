"""What each sharded stage does with one shard: records in, one item per record out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from mis_dataset.records import ORDINALS, Failed, Labelled, Picture, Rejected, Rendered, Scenario, Screened, Verdict
from mis_dataset.render import Drawing, DrawOrder, Renderer
from mis_dataset.run.images import ImageStore, Stored
from mis_dataset.run.shards import Item
from mis_dataset.screen import Screener
from mis_dataset.seeds import stable_seed
from mis_dataset.teach import LabelRequest, Teacher

_ENCODERS = 2
_ENCODING_AHEAD = 8

Tick = Callable[[float], None]
"""Is told, now and then, that a further fraction of the shard is done; the fractions need not add up to 1."""

Slot = tuple[str, int, str]
"""A family, a place in the question and an object: twins share the picture of what they have in common."""


def render_scenarios(
    renderer: Renderer, images: ImageStore, seed: int, max_redraws: int, scenarios: Sequence[Scenario], tick: Tick
) -> Iterator[Item[Rendered]]:
    """Draw the images of some scenarios; a blank one is drawn again from a new seed, ``max_redraws`` times at most."""
    wanted = {_slot(scenario, place): image for scenario in scenarios for place, image in enumerate(scenario.images)}
    drawn: dict[Slot, Picture | Rejected] = {}
    for attempt in range(max_redraws + 1):
        orders = {
            slot: DrawOrder(image.object, image.prompt, stable_seed(seed, *slot, attempt))
            for slot, image in wanted.items()
            if slot not in drawn or _is_blank(drawn[slot])
        }
        pictures = _draw(renderer, images, list(orders.values()), attempt)
        for slot, picture in zip(orders, pictures, strict=True):
            drawn[slot] = picture
            tick(0 if attempt else 1 / len(orders))
    for scenario in scenarios:
        shown = [drawn[_slot(scenario, place)] for place in range(len(scenario.images))]
        yield Item(scenario.id, _rendered(scenario, shown))


def teach_rows(teacher: Teacher, images: ImageStore, rows: Sequence[Rendered], tick: Tick) -> Iterator[Item[Labelled]]:
    """Have some rows labelled."""
    requests = [
        LabelRequest(row.scenario, tuple(images.root / picture.path for picture in row.pictures)) for row in rows
    ]
    for row, label in zip(rows, teacher.teach(requests), strict=True):
        outcome = label if isinstance(label, (Rejected, Failed)) else Labelled(row.scenario, row.pictures, label)
        tick(1 / len(rows))
        yield Item(row.scenario.id, outcome)


def screen_rows(screeners: Sequence[Screener], rows: Sequence[Labelled], tick: Tick) -> Iterator[Item[Screened]]:
    """Have some rows judged by every screener in turn; what one rejects, the next does not see."""
    passed: dict[str, tuple[Verdict, ...]] = {row.scenario.id: () for row in rows}
    stopped: dict[str, Rejected | Failed] = {}
    for screener in screeners:
        remaining = [row for row in rows if row.scenario.id not in stopped]
        for row, verdict in zip(remaining, screener.screen(remaining), strict=True):
            tick(1 / len(rows) / len(screeners))
            name = row.scenario.id
            passed[name] += (verdict,)
            if verdict.verdict == "fail":
                stopped[name] = Rejected(verdict.reason, f"{verdict.judge}: {verdict.detail}")
            elif verdict.verdict == "cannot_judge":
                stopped[name] = Failed(verdict.reason or "cannot_judge", f"{verdict.judge}: {verdict.detail}")
    for row in rows:
        name = row.scenario.id
        outcome = stopped.get(name) or Screened(row.scenario, row.pictures, row.label, passed[name])
        yield Item(name, outcome)


def _slot(scenario: Scenario, place: int) -> Slot:
    return scenario.family, place, scenario.images[place].object


def _is_blank(outcome: Picture | Rejected) -> bool:
    return isinstance(outcome, Rejected) and outcome.reason == "blank"


def _draw(
    renderer: Renderer, images: ImageStore, orders: Sequence[DrawOrder], attempt: int
) -> Iterator[Picture | Rejected]:
    """Draw in order; encoding and hashing run beside the renderer, a bounded number of images behind it."""
    if not orders:
        return
    with ThreadPoolExecutor(_ENCODERS) as pool:
        waiting: deque[tuple[DrawOrder, Drawing, Future[Stored]] | Rejected] = deque()
        for order, drawing in zip(orders, renderer.render(orders), strict=True):
            waiting.append(
                drawing if isinstance(drawing, Rejected) else (order, drawing, pool.submit(images.save, drawing.image))
            )
            if len(waiting) > _ENCODING_AHEAD:
                yield _picture(waiting.popleft(), attempt)
        while waiting:
            yield _picture(waiting.popleft(), attempt)


def _picture(item: tuple[DrawOrder, Drawing, Future[Stored]] | Rejected, attempt: int) -> Picture | Rejected:
    if isinstance(item, Rejected):
        return item
    order, drawing, future = item
    stored = future.result()
    return Picture(
        path=stored.path,
        sha256=stored.sha256,
        phash=stored.phash,
        width=drawing.image.width,
        height=drawing.image.height,
        prompt=order.prompt,
        negative_prompt=drawing.negative_prompt,
        seed=order.seed,
        attempt=attempt,
        model=drawing.model,
        revision=drawing.revision,
        steps=drawing.steps,
        guidance=drawing.guidance,
        scheduler=drawing.scheduler,
        device=drawing.device,
        dtype=drawing.dtype,
        batch=drawing.batch,
    )


def _rendered(scenario: Scenario, pictures: Sequence[Picture | Rejected]) -> Rendered | Rejected:
    for place, picture in enumerate(pictures):
        if isinstance(picture, Rejected):
            where = f"{ORDINALS[place]} image ({scenario.images[place].object})"
            return replace(picture, detail=f"{where}: {picture.detail}")
    return Rendered(scenario, tuple(picture for picture in pictures if isinstance(picture, Picture)))
