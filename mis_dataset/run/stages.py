"""What each sharded stage does with one shard: records in, one item per record out."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from mis_dataset.records import (
    ORDINALS,
    Failed,
    Label,
    Labelled,
    Picture,
    Rejected,
    Rendered,
    Scenario,
    Screened,
    Verdict,
)
from mis_dataset.render import Renderer
from mis_dataset.run.contract import one_each
from mis_dataset.run.draw import Artist, Slot, Tick
from mis_dataset.run.images import ImageStore
from mis_dataset.run.shards import Item
from mis_dataset.screen import Screener
from mis_dataset.teach import LabelRequest, Teacher


def render_scenarios(artist: Artist, scenarios: Sequence[Scenario], tick: Tick) -> Iterator[Item[Rendered]]:
    """Have the images of some scenarios drawn; twins share what they have in common."""
    wanted = {_slot(scenario, place): image for scenario in scenarios for place, image in enumerate(scenario.images)}
    drawn = artist.draw(wanted, tick)
    for scenario in scenarios:
        yield Item(scenario.id, _rendered(scenario, [drawn[_slot(scenario, n)] for n in range(len(scenario.images))]))


@dataclass(frozen=True)
class Studio:
    """Who draws, and who finds photographs for the scenarios of ``real``."""

    artist: Artist
    photographer: Renderer | None = None
    """Works as the artist's renderer does, under the same checker; None where no scenario is of ``real``."""

    def render(self, scenarios: Sequence[Scenario], tick: Tick) -> Iterator[Item[Rendered]]:
        """Have the images of some scenarios made, those of ``real`` by the photographer.

        Raises:
            ValueError: a scenario is of ``real``, and there is no photographer.
        """
        done: dict[str, Item[Rendered]] = {}
        for is_real in (False, True):
            share = [scenario for scenario in scenarios if (scenario.subset == "real") is is_real]
            if share:
                artist = self._photographing(share[0].id) if is_real else self.artist
                part = _scaled(tick, len(share) / len(scenarios))
                done |= {item.id: item for item in render_scenarios(artist, share, part)}
        return (done[scenario.id] for scenario in scenarios)

    def _photographing(self, name: str) -> Artist:
        if self.photographer is None:
            raise ValueError(f"{name} is of real, but the studio has no photographer")
        return replace(self.artist, renderer=self.photographer)


@dataclass(frozen=True)
class School:
    """Who teaches, who criticises, and how often a criticised label may be written again."""

    teacher: Teacher
    images: ImageStore
    critics: tuple[Screener, ...] = ()
    max_rewrites: int = 0

    def teach(self, rows: Sequence[Rendered], tick: Tick) -> Iterator[Item[Labelled]]:
        """Have some rows labelled; a label that a critic fails is asked for again with the critique, then rejected."""
        self.images.verify(rows)
        done: dict[str, Labelled | Rejected | Failed] = {}
        critiques: dict[str, tuple[str, ...]] = {row.scenario.id: () for row in rows}
        waiting = list(rows)
        for attempt in range(self.max_rewrites + 1):
            written = []
            # Closed at once if the line stops: what is in flight is waited for there.
            with closing(self._label(waiting, critiques)) as labels:
                for row, label in labels:
                    tick(0 if attempt else 1 / len(rows))
                    if isinstance(label, Label):
                        written.append(Labelled(row.scenario, row.pictures, label))
                    else:
                        done[row.scenario.id] = label
            _, stopped = _judge(self.critics, self.images, written, lambda _: tick(0))
            done |= {row.scenario.id: stopped.get(row.scenario.id, row) for row in written}
            for name, why in stopped.items():
                critiques[name] += (why.detail,)
            waiting = [row for row in waiting if isinstance(stopped.get(row.scenario.id), Rejected)]
            if not waiting:
                break
        return (Item(row.scenario.id, done[row.scenario.id]) for row in rows)

    def _label(
        self, rows: Sequence[Rendered], critiques: Mapping[str, tuple[str, ...]]
    ) -> Generator[tuple[Rendered, Label | Rejected | Failed]]:
        requests = [
            LabelRequest(
                row.scenario,
                tuple(self.images.root / picture.path for picture in row.pictures),
                critiques[row.scenario.id],
            )
            for row in rows
        ]
        answers = one_each(self.teacher, requests, self.teacher.teach(requests))
        for row, (request, label) in zip(rows, answers, strict=True):
            yield row, replace(label, critiques=request.critiques) if isinstance(label, Label) else label


def screen_rows(
    screeners: Sequence[Screener], images: ImageStore, rows: Sequence[Labelled], tick: Tick
) -> Iterator[Item[Screened]]:
    """Have some rows judged by every screener in turn; what one rejects, the next does not see."""
    images.verify(rows)
    verdicts, stopped = _judge(screeners, images, rows, tick)
    for row in rows:
        name = row.scenario.id
        outcome = stopped.get(name) or Screened(row.scenario, row.pictures, row.label, verdicts[name])
        yield Item(name, outcome)


def _judge(
    screeners: Sequence[Screener], images: ImageStore, rows: Sequence[Labelled], tick: Tick
) -> tuple[dict[str, tuple[Verdict, ...]], dict[str, Rejected | Failed]]:
    """All verdicts by row, and what stopped the rows that did not get through."""
    verdicts: dict[str, tuple[Verdict, ...]] = {row.scenario.id: () for row in rows}
    stopped: dict[str, Rejected | Failed] = {}
    for screener in screeners:
        remaining = [images.opened(row) for row in rows if row.scenario.id not in stopped]
        with closing(one_each(screener, remaining, screener.screen(remaining))) as judged:
            for row, verdict in judged:
                tick(1 / len(rows) / len(screeners))
                name = row.scenario.id
                verdicts[name] += (verdict,)
                if verdict.verdict == "fail":
                    stopped[name] = Rejected(verdict.reason, f"{verdict.judge}: {verdict.detail}")
                elif verdict.verdict == "cannot_judge":
                    stopped[name] = Failed(verdict.reason or "cannot_judge", f"{verdict.judge}: {verdict.detail}")
    return verdicts, stopped


def _scaled(tick: Tick, part: float) -> Tick:
    return lambda fraction: tick(fraction * part)


def _slot(scenario: Scenario, place: int) -> Slot:
    return scenario.family, place, scenario.images[place].object


def _rendered(scenario: Scenario, pictures: Sequence[Picture | Rejected | Failed]) -> Rendered | Rejected | Failed:
    for place, picture in enumerate(pictures):
        if not isinstance(picture, Picture):
            where = f"{ORDINALS[place]} image ({scenario.images[place].object})"
            return replace(picture, detail=f"{where}: {picture.detail}")
    return Rendered(scenario, tuple(picture for picture in pictures if isinstance(picture, Picture)))
