"""Drawing until it is right: blank images from new seeds, images that miss their object from better prompts."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property

from mis_dataset.check import Checked, Checker, CheckOrder
from mis_dataset.ledger import Account, Usage, open_account, request_key
from mis_dataset.options import identity
from mis_dataset.records import Attempt, Failed, ImageSpec, Picture, Rejected
from mis_dataset.render import Drawing, DrawOrder, Renderer
from mis_dataset.run.arrow import from_row
from mis_dataset.run.contract import one_each
from mis_dataset.run.images import ImageStore, Stored
from mis_dataset.seeds import stable_seed

_ENCODERS = min(8, os.cpu_count() or 2)
_RECORD = [field.name for field in fields(Picture)]
"""Pictures that an earlier version kept with other fields are drawn again."""
_ENCODING_AHEAD = 8
"""Images that may wait for the encoders, or those of two batches if they are more."""

Tick = Callable[[float], None]
"""Is told, now and then, that a further fraction of the shard is done; the fractions need not add up to 1."""

Slot = tuple[str, int, str]
"""A family, a place in the question and an object: twins share the picture of what they have in common."""


@dataclass(frozen=True)
class Artist:
    """Who draws, who checks, and how often they may try.

    The method of redrawing from a better prompt is the MIS paper's auto-refinement (arXiv 2501.18533).
    """

    renderer: Renderer
    images: ImageStore
    seed: int
    max_redraws: int
    """Further draws of a blank image."""
    checker: Checker | None = None
    max_refinements: int = 0
    """Further draws of an image that does not show its object."""

    def draw(self, wanted: Mapping[Slot, ImageSpec], tick: Tick) -> dict[Slot, Picture | Rejected | Failed]:
        """Draw every slot until it is kept, or rejected as ``blank`` or ``not_shown``, or cannot be checked.

        An image's seed depends on the recipe's seed, its slot and the attempt alone.

        Raises:
            BudgetError: a limit of the recipe is reached; what was drawn is kept.
        """
        easels = {slot: _Easel(spec.object, spec.prompt) for slot, spec in wanted.items()}
        while pending := {slot: easel for slot, easel in easels.items() if easel.result is None}:
            orders = [
                DrawOrder(easel.object, easel.prompt, stable_seed(self.seed, *slot, len(easel.attempts)))
                for slot, easel in pending.items()
            ]
            # Closed at once if the line stops: what is drawn by then is encoded and kept.
            with closing(self._draw(orders)) as drawn:
                for easel, order, outcome in zip(pending.values(), orders, drawn, strict=True):
                    tick(0 if easel.attempts else 1 / len(easels))
                    easel.take(order, outcome, self.max_redraws)
            self._check([easel for easel in pending.values() if easel.candidate], tick)
        return {slot: easel.result for slot, easel in easels.items() if easel.result is not None}

    def _draw(self, orders: Sequence[DrawOrder]) -> Generator[Picture | Rejected]:
        """Draw in order what is not kept yet.

        What is missing makes up batches of its own, which the renderer fills up: how many images are drawn together
        may decide pixels, which ones does not.
        """
        known = [self._recall(order) for order in orders]
        drawn = self._draw_new([order for order, outcome in zip(orders, known, strict=True) if outcome is None])
        for outcome in known:
            yield outcome or next(drawn)
        # A renderer that gives more than it was asked for shows only now.
        next(drawn, None)

    def _draw_new(self, orders: Sequence[DrawOrder]) -> Iterator[Picture | Rejected]:
        """Draw in order; encoding, hashing and keeping run beside the renderer, a bounded number of images behind."""
        if not orders:
            return
        with ThreadPoolExecutor(_ENCODERS) as pool:
            waiting: deque[Future[Picture | Rejected]] = deque()
            account, ahead = open_account(), _ENCODING_AHEAD
            for order, (drawing, usage) in one_each(self.renderer, orders, _metered(self.renderer, orders)):
                if account:
                    # Before the next one is drawn: the limits have to know.
                    account.ledger.pay(self._key(order), account.folder, usage)
                if isinstance(drawing, Drawing):
                    # A batch comes in as a whole: the next is not to wait until this one is encoded.
                    ahead = max(_ENCODING_AHEAD, 2 * drawing.batch)
                waiting.append(pool.submit(self._keep, order, drawing, account))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _keep(self, order: DrawOrder, drawing: Drawing | Rejected, account: Account | None) -> Picture | Rejected:
        outcome = (
            drawing if isinstance(drawing, Rejected) else _picture(order, drawing, self.images.save(drawing.image))
        )
        if account:
            account.ledger.put(self._key(order), asdict(outcome))
        return outcome

    def _recall(self, order: DrawOrder) -> Picture | Rejected | None:
        """What became of an equal order before, if a picture's file is still as it was."""
        account = open_account()
        if account is None or (kept := account.ledger.get(self._key(order))) is None:
            return None
        outcome: Picture | Rejected = Rejected(**kept) if "reason" in kept else from_row(Picture, kept)
        if isinstance(outcome, Picture) and not self.images.is_intact(outcome.path, outcome.sha256):
            return None
        account.ledger.charge(self._key(order), account.folder)
        return outcome

    def _key(self, order: DrawOrder) -> str:
        return request_key(record=_RECORD, renderer=self._renderer_identity, **asdict(order))

    @cached_property
    def _renderer_identity(self) -> str:
        return json.dumps(identity(self.renderer), sort_keys=True, default=str)

    def _check(self, easels: Sequence[_Easel], tick: Tick) -> None:
        candidates = [(easel, easel.candidate) for easel in easels if easel.candidate]
        if self.checker is None:
            for easel, picture in candidates:
                easel.keep(picture, "")
            return
        orders = [
            CheckOrder(easel.object, easel.prompt, self.images.root / picture.path) for easel, picture in candidates
        ]
        with closing(one_each(self.checker, orders, self.checker.check(orders))) as verdicts:
            for (easel, picture), (_, checked) in zip(candidates, verdicts, strict=True):
                tick(0)
                easel.judge(picture, checked, self.max_refinements)


@dataclass
class _Easel:
    """One image in the making."""

    object: str
    prompt: str
    attempts: list[Attempt] = field(default_factory=list)
    candidate: Picture | None = None
    """Drawn, but not checked yet."""
    result: Picture | Rejected | Failed | None = None

    def take(self, order: DrawOrder, outcome: Picture | Rejected, max_redraws: int) -> None:
        """Look at what the renderer made of an order."""
        if isinstance(outcome, Picture):
            self.candidate = outcome
        elif outcome.reason != "blank" or self._times("blank") == max_redraws:
            self.result = outcome
        else:
            self.attempts.append(Attempt(order.prompt, order.seed, "blank", outcome.detail, ""))

    def judge(self, picture: Picture, checked: Checked | Rejected | Failed, max_refinements: int) -> None:
        """Keep the picture, or draw again, or give up, as the checker says."""
        self.candidate = None
        if not isinstance(checked, Checked):
            self.result = Failed(f"check_{checked.reason}", checked.detail)
        elif checked.shows:
            self.keep(picture, checked.detail)
        else:
            self.attempts.append(Attempt(self.prompt, picture.seed, "not_shown", checked.detail, picture.sha256))
            if self._times("not_shown") > max_refinements:
                self.result = Rejected("not_shown", _told(self.attempts))
            self.prompt = checked.better_prompt or self.prompt

    def keep(self, picture: Picture, detail: str) -> None:
        """The picture is good; if that took more than a look, its attempts are kept with it."""
        self.candidate = None
        last = Attempt(self.prompt, picture.seed, "kept", detail, picture.sha256)
        history = (*self.attempts, last) if self.attempts or detail else ()
        self.result = replace(picture, attempt=len(self.attempts), attempts=history)

    def _times(self, outcome: str) -> int:
        return sum(attempt.outcome == outcome for attempt in self.attempts)


def _told(attempts: Sequence[Attempt]) -> str:
    """Every attempt at an image that never passed: there is no picture to keep them with."""
    return "; ".join(
        f"attempt {number} from {attempt.prompt!r}, seed {attempt.seed}, sha256 {attempt.sha256 or 'none'}, "
        f"{attempt.outcome}: {attempt.detail}"
        for number, attempt in enumerate(attempts, 1)
    )


def _metered(renderer: Renderer, orders: Sequence[DrawOrder]) -> Iterator[tuple[Drawing | Rejected, Usage]]:
    """Draw, and say what each image took, blank ones included; the first of a batch takes its seconds.

    Metered are renderers that want a GPU, wherever they draw, and what others drew on one.

    Raises:
        BudgetError: before a batch for which there is no room within the limits.
    """
    account, batch, model = open_account(), getattr(renderer, "batch_size", None) or 1, type(renderer).__name__
    costs = wants_gpu = getattr(renderer, "wants_gpu", False)
    drawings = iter(renderer.render(orders))
    for number in itertools.count():
        # What was drawn together comes in together, and after the last image there is nothing to stop.
        if account and costs and number % batch == 0 and number < len(orders):
            account.ledger.check("max_gpu_seconds", "max_usd")
        begun = time.monotonic()
        if (drawing := next(drawings, None)) is None:
            return
        if isinstance(drawing, Drawing):
            costs, batch, model = wants_gpu or drawing.device != "cpu", drawing.batch, drawing.model
        yield drawing, Usage(model, images=1, seconds=time.monotonic() - begun) if costs else Usage(model)


def _picture(order: DrawOrder, drawing: Drawing, stored: Stored) -> Picture:
    return Picture(
        path=stored.path,
        sha256=stored.sha256,
        phash=stored.phash,
        width=drawing.image.width,
        height=drawing.image.height,
        prompt=order.prompt,
        negative_prompt=drawing.negative_prompt,
        seed=order.seed,
        attempt=0,
        model=drawing.model,
        revision=drawing.revision,
        steps=drawing.steps,
        guidance=drawing.guidance,
        scheduler=drawing.scheduler,
        device=drawing.device,
        dtype=drawing.dtype,
        batch=drawing.batch,
        source=drawing.source,
        licence=drawing.licence,
        made_with=drawing.made_with,
    )
