"""Stages that are told to stop do so between two answers, whoever is asked, and let go of whoever answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from PIL import Image
from scenarios import scenario

from mis_dataset.check import Checked, CheckOrder
from mis_dataset.records import Label, Labelled, Rendered, Verdict
from mis_dataset.render import Drawing, DrawOrder
from mis_dataset.run.belt import StoppedError
from mis_dataset.run.draw import Artist
from mis_dataset.run.images import ImageStore
from mis_dataset.run.stages import School, render_scenarios, screen_rows
from mis_dataset.teach import LabelRequest

Asked = TypeVar("Asked")
SCENARIOS = [scenario(number) for number in range(9)]
ROWS = [Rendered(one, ()) for one in SCENARIOS]


class Panel:
    """Draws, checks, teaches, criticises and judges; the third answer of one of these tells the line to stop."""

    def __init__(self, slow: str) -> None:
        self.slow = slow
        self.answers = 0
        self.has_let_go = False
        self.is_stopping = False

    def tick(self, _: float) -> None:
        """What a stage asks now and then."""
        if self.is_stopping:
            raise StoppedError

    def _each(self, role: str, asked: Sequence[Asked]) -> Iterator[Asked]:
        try:
            for one in asked:
                if role == self.slow:
                    self.answers += 1
                    self.is_stopping = self.answers >= 3
                yield one
        finally:
            self.has_let_go = self.has_let_go or role == self.slow

    def render(self, orders: Sequence[DrawOrder]) -> Iterator[Drawing]:
        for order in self._each("render", orders):
            yield Drawing(Image.new("RGB", (8, 8), (order.seed % 256, 0, 0)), model="m", revision="1")

    def check(self, orders: Sequence[CheckOrder]) -> Iterator[Checked]:
        return (Checked(True, "It does.") for _ in self._each("check", orders))

    def teach(self, requests: Sequence[LabelRequest]) -> Iterator[Label]:
        return (Label((), "So.", "Well.", "m", "1", "", 1, 1) for _ in self._each("teach", requests))

    def screen(self, rows: Sequence[Labelled]) -> Iterator[Verdict]:
        return (Verdict("m", "pass", "", "") for _ in self._each("screen", rows))


@pytest.mark.parametrize("slow", ["render", "check", "teach", "screen"])
def test_a_stage_stops_between_two_answers(tmp_path: Path, slow: str):
    panel, images = Panel(slow), ImageStore(tmp_path)
    artist, school = Artist(panel, images, 1, 0, panel), School(panel, images, (panel,), 0)
    with pytest.raises(StoppedError):
        list(
            render_scenarios(artist, SCENARIOS, panel.tick)
            if slow in ("render", "check")
            else school.teach(ROWS, panel.tick)
        )
    # Drawings come out some behind, so that encoding runs beside the renderer.
    assert panel.answers <= (12 if slow == "render" else 4)
    assert panel.has_let_go


def test_screening_stops_between_two_verdicts(tmp_path: Path):
    panel = Panel("screen")
    rows = [Labelled(row.scenario, (), Label((), "So.", "Well.", "m", "1", "", 1, 1)) for row in ROWS]
    with pytest.raises(StoppedError):
        list(screen_rows((panel,), ImageStore(tmp_path), rows, panel.tick))
    assert panel.answers <= 4
    assert panel.has_let_go
