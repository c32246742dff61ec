"""The taxonomy: categories, sub-categories and relations, read from ``dataset_card/taxonomy.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache

from mis_dataset.resources import resource


@dataclass(frozen=True)
class SubCategory:
    """One kind of harm."""

    name: str
    category: str
    definition: str
    paper_rows: int
    """Rows of easy + hard in the MIS paper's table (arXiv 2501.18533)."""


@dataclass(frozen=True)
class Relation:
    """One way in which images combine."""

    name: str
    definition: str


@dataclass(frozen=True)
class Taxonomy:
    """The closed vocabulary of a dataset; an unknown name is a mistake, never a new label."""

    sub_categories: dict[str, SubCategory]
    relations: dict[str, Relation]

    @property
    def categories(self) -> list[str]:
        """Category names, in the paper's order."""
        return list(dict.fromkeys(sub.category for sub in self.sub_categories.values()))


@cache
def taxonomy() -> Taxonomy:
    """The shipped taxonomy: 6 categories, 14 sub-categories, and the relations."""
    with resource("dataset_card", "taxonomy.toml").open("rb") as file:
        data = tomllib.load(file)
    subs = [
        SubCategory(category=category["name"], **sub)
        for category in data["category"]
        for sub in category["sub_category"]
    ]
    relations = [Relation(**relation) for relation in data["relation"]]
    return Taxonomy({sub.name: sub for sub in subs}, {relation.name: relation for relation in relations})
