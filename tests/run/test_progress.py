import io
import re

from recipes import tiny
from rich.console import Console

from mis_dataset.pipeline import build
from mis_dataset.run.progress import BarReporter, PlainReporter, Silent


class Sum(Silent):
    """Adds up what is told."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.done: dict[str, float] = {}

    def start(self, stage: str) -> None:
        self.done[stage] = 0

    def expect(self, stage: str, total: int) -> None:
        self.totals[stage] = total

    def found(self, stage: str, items: int) -> None:
        self.done[stage] += items

    def advance(self, stage: str, items: float) -> None:
        self.done[stage] += items


def test_what_is_told_adds_up_to_the_whole(tmp_path):
    told = Sum()
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", to="screen", reporter=told)
    for stage in ("render", "teach", "screen"):
        assert abs(told.done[stage] - told.totals[stage]) < 1e-6, stage


def test_plain_lines_have_one_line_per_stage(tmp_path):
    text = io.StringIO()
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", reporter=PlainReporter(Console(file=text, width=200)))
    lines = text.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["compose", "render", "teach", "screen"]
    assert all(re.search(r"\d+ accepted.*\(\d+\.\d s\)$", line) for line in lines)


def test_bars_show_every_stage_on_a_terminal(tmp_path):
    text = io.StringIO()
    with BarReporter(Console(file=text, force_terminal=True, width=120)) as bars:
        bars.note("something was done again")
        build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", reporter=bars)
    shown = text.getvalue()
    assert "note: something was done again" in shown
    for stage in ("compose", "render", "teach", "screen"):
        assert stage in shown
