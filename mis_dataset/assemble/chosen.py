"""The rows to publish, read again from where they lie whenever they are wanted.

Which rows they are, and what routing and splitting changed of them, their outlines tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mis_dataset.outline import Source, outline
from mis_dataset.records import SUBSETS, Outline, Screened


class Chosen:
    """The final rows in their final order.

    Args:
        outlines: with final subsets, twins and pairs.
        source: what they outline.
    """

    def __init__(self, outlines: Sequence[Outline], source: Source) -> None:
        self.outlines = outlines
        self._source = source

    @classmethod
    def all_of(cls, rows: Sequence[Screened]) -> Chosen:
        """Rows that are final as they are."""
        return cls([outline(row, place) for place, row in enumerate(rows)], rows)

    def __len__(self) -> int:
        return len(self.outlines)

    def __iter__(self) -> Iterator[Screened]:
        return map(self.row, self.outlines)

    def by_subset(self) -> Chosen:
        """The same rows as readers find them, one subset after the other."""
        return Chosen(sorted(self.outlines, key=lambda one: SUBSETS.index(one.subset)), self._source)

    def of(self, *subsets: str) -> Iterator[Screened]:
        """The rows of some subsets, one subset after the other."""
        return (self.row(one) for subset in subsets for one in self.outlines if one.subset == subset)

    def row(self, final: Outline) -> Screened:
        """The row that one of the outlines outlines, with what was changed of it."""
        row = self._source[final.place]
        scenario = row.scenario
        flags = final.harmful or [image.harmful for image in scenario.images]
        changed = replace(
            scenario,
            subset=final.subset,
            twin_id=final.twin_id,
            pair_id=final.pair_id,
            images=tuple(replace(image, harmful=flag) for image, flag in zip(scenario.images, flags, strict=True)),
        )
        return replace(row, scenario=changed)
