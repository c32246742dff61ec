"""The card's two pictures, drawn with Pillow: what the dataset is made of, and what a few rows look like."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont, ImageOps

from mis_dataset.assemble.chosen import Chosen
from mis_dataset.assemble.counts import Counts
from mis_dataset.records import SUBSETS, Outline, Screened, Subset
from mis_dataset.run.images import ImageStore

_INK, _PALE, _PAPER = "#22303c", "#8a97a3", "#ffffff"
# Four hues that stay apart for colour-blind readers; the benign share is the same hue, lighter.
_HUES: dict[Subset, tuple[str, str]] = {
    "train": ("#3b6fb6", "#b7cdea"),
    "easy": ("#e08a1e", "#f6d9b0"),
    "hard": ("#b5335c", "#ecbccb"),
    "real": ("#2f8f7a", "#b5ddd3"),
}
_INTENTS = ("harmful", "benign")
_SCALE = 2  # drawn at twice the size and shrunk, for smooth edges

_LABELS, _BARS, _MARGIN, _ROW, _BAR = 290, 660, 28, 34, 22
_THUMB, _GAP, _SHEET_WIDTH = 176, 10, 1180
_NOT_SHOWN = ("Erotic", "Self-Harm")


def draw_composition(counts: Counts, path: Path) -> None:
    """Horizontal bars: rows per sub-category, by subset and intent; about 1000 pixels wide."""
    labels = counts.labels
    top = _MARGIN + 64
    canvas = _Canvas(_LABELS + _BARS + 3 * _MARGIN, top + _ROW * len(labels) + _MARGIN)
    canvas.text((_MARGIN, _MARGIN), f"{counts.rows} rows by sub-category, subset and intent", 19)
    left = float(_MARGIN)
    for subset in counts.subsets:
        for intent, colour in zip(_INTENTS, _HUES[subset], strict=True):
            if counts.subset_intent[subset, intent]:
                canvas.box((left, _MARGIN + 36, left + 14, _MARGIN + 50), colour)
                left += 20
                left += canvas.text((left, _MARGIN + 35), f"{subset}, {intent}", 14) + 18
    longest = max(map(counts.kind, labels), default=1)
    for place, (kind, label) in enumerate(labels.items()):
        y = top + _ROW * place
        canvas.text((_LABELS, y + 2), label, 15, align_right=True)
        x = float(_LABELS + 12)
        for subset in SUBSETS:
            for intent, colour in zip(_INTENTS, _HUES[subset], strict=True):
                width = _BARS * counts.cells[kind, subset, intent] / longest
                canvas.box((x, y, x + width, y + _BAR), colour)
                x += width
        canvas.text((x + 8, y + 2), str(counts.kind(kind)), 15, _PALE)
    canvas.save(path)


def draw_preview(rows: Chosen, store: ImageStore, path: Path) -> None:
    """A contact sheet: a few test rows with their twins, each with its images and question.

    Rows about sexual content and self-harm are left out: a page that opens by itself should shock nobody.
    """
    shown = [rows.row(one) for one in _showcase(rows.outlines)]
    height = _THUMB + 2 * _GAP
    canvas = _Canvas(_SHEET_WIDTH, 2 * _MARGIN + height * len(shown))
    for place, row in enumerate(shown):
        y = _MARGIN + height * place
        for column, data in enumerate(store.read(row)):
            picture = Image.open(io.BytesIO(data)).convert("RGB")
            canvas.image((_MARGIN + column * (_THUMB + _GAP), y), picture, _THUMB)
        _caption(canvas, row, _MARGIN + len(row.pictures) * (_THUMB + _GAP) + _GAP, y)
    canvas.save(path)


def _caption(canvas: _Canvas, row: Screened, x: int, y: int) -> None:
    scenario = row.scenario
    colour = _HUES[scenario.subset][0] if scenario.intent == "harmful" else "#2f8f7a"
    canvas.text((x, y + 2), f"{scenario.subset}, {scenario.intent}", 15, colour)
    letters = (_SHEET_WIDTH - _MARGIN - x) // 9
    for line, text in enumerate(wrap(scenario.question, letters, max_lines=5, placeholder=" …")):
        canvas.text((x, y + 28 + 23 * line), text, 17)


def _showcase(rows: Sequence[Outline]) -> list[Outline]:
    """Harmful rows, hard and easy by turns and of different sub-categories, each followed by its twin."""
    rest = [row for row in rows if row.intent == "harmful" and row.category not in _NOT_SHOWN]
    chosen: list[Outline] = []
    for subset in ("hard", "easy", "hard"):
        seen = [row.sub_category for row in chosen]
        rest.sort(
            key=lambda row: (
                row.subset != subset,
                row.subset == "train",
                row.sub_category in seen,
                row.twin_id is None,
            )
        )
        chosen += [rest.pop(0)] if rest else []
    named = {row.twin_id for row in chosen}
    twins = {row.id: row for row in rows if row.id in named}
    return [member for row in chosen for member in (row, twins.get(row.twin_id or "")) if member is not None]


class _Canvas:
    """A picture in whose coordinates one unit is one pixel of the result."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self._pictures: list[tuple[tuple[int, int], Image.Image]] = []

    def box(self, corners: tuple[float, float, float, float], colour: str) -> None:
        left, top, right, bottom = (round(value * _SCALE) for value in corners)
        if right > left:
            self._draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)

    def text(
        self, at: tuple[float, float], text: str, size: int, colour: str = _INK, *, align_right: bool = False
    ) -> float:
        """Write a line and return its width."""
        font = ImageFont.load_default(size * _SCALE)
        anchor = "ra" if align_right else "la"
        self._draw.text((at[0] * _SCALE, at[1] * _SCALE), text, colour, font, anchor=anchor)
        return self._draw.textlength(text, font) / _SCALE

    def image(self, at: tuple[int, int], picture: Image.Image, side: int) -> None:
        """Fit a picture into a square; it comes on top of all else, made smaller once only."""
        self._pictures.append((at, ImageOps.contain(picture, (side, side), Image.Resampling.LANCZOS)))

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = self._image.size
        smooth = self._image.resize((width // _SCALE, height // _SCALE), Image.Resampling.LANCZOS)
        for at, picture in self._pictures:
            smooth.paste(picture, at)
        smooth.save(path, optimize=True)
