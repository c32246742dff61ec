"""How far raters agree, beyond what chance would give them.

Everywhere, an item is the list of categories that its raters gave it; a rater who could not judge it is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

Item = Sequence[str]


@dataclass(frozen=True)
class Agreement:
    """How far raters agree on items of one kind."""

    target: str
    """What was rated: ``question``, ``image`` or ``together``."""
    raters: int
    items: int
    """Different items that two raters or more could judge."""
    complete: int
    """Those that all raters could judge."""
    raw: float | None
    """See `raw_agreement`."""
    kappa: float | None
    """See `fleiss_kappa`; over the complete items."""
    alpha: float | None
    """See `krippendorff_alpha`."""


def measure_agreement(target: str, items: Sequence[Item], raters: int) -> Agreement:
    """All measures over items of one kind, of which no item has more ratings than there are raters."""
    complete = [item for item in _paired(items) if len(item) == raters]
    return Agreement(
        target=target,
        raters=raters,
        items=len(_paired(items)),
        complete=len(complete),
        raw=raw_agreement(items),
        kappa=fleiss_kappa(complete),
        alpha=krippendorff_alpha(items),
    )


def raw_agreement(items: Sequence[Item]) -> float | None:
    """The share of an item's pairs of raters that agree, as the mean over items with at least two ratings.

    None if there is no such item.
    """
    shares = [_agreeing(item) / (len(item) * (len(item) - 1)) for item in _paired(items)]
    return sum(shares) / len(shares) if shares else None


def fleiss_kappa(items: Sequence[Item]) -> float | None:
    """Fleiss' kappa: 1 is full agreement, 0 is what chance gives.

    Fleiss, "Measuring nominal scale agreement among many raters", Psychological Bulletin 76(5), 1971.

    None if it is undefined: no item with two ratings, or all ratings are of one category.

    Raises:
        ValueError: the items have different numbers of ratings.
    """
    if len(set(map(len, items))) > 1:
        raise ValueError("Fleiss' kappa wants the same number of ratings for every item")
    raw = raw_agreement(items)
    totals = _totals(items)
    by_chance = sum((count / totals.total()) ** 2 for count in totals.values())
    return None if raw is None or len(totals) == 1 else (raw - by_chance) / (1 - by_chance)


def krippendorff_alpha(items: Sequence[Item]) -> float | None:
    """Krippendorff's alpha for nominal categories: 1 is full agreement, 0 is what chance gives; ratings may be missing.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability", University of Pennsylvania, 2011, section C.

    None if it is undefined: no item with two ratings, or all ratings are of one category.
    """
    pairable = _paired(items)
    totals = _totals(pairable)
    # Pairs of ratings that differ: within items, and among all ratings whatever their item.
    observed = sum((len(item) * (len(item) - 1) - _agreeing(item)) / (len(item) - 1) for item in pairable)
    expected = totals.total() ** 2 - sum(count**2 for count in totals.values())
    return 1 - (totals.total() - 1) * observed / expected if expected else None


def _paired(items: Sequence[Item]) -> list[Item]:
    return [item for item in items if len(item) >= 2]


def _agreeing(item: Item) -> int:
    """Ordered pairs of raters who gave the item the same category."""
    return sum(count * (count - 1) for count in Counter(item).values())


def _totals(items: Sequence[Item]) -> Counter[str]:
    return Counter(category for item in items for category in item)
