"""The dataset card: a template of ``dataset_card`` filled with what the data say of themselves.

``README.md.j2`` is for what a recipe built, ``IMPORTED.md.j2`` for what others made; ``parts`` are in both.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

import jinja2
import yaml

from mis_dataset import __version__
from mis_dataset.assemble.chosen import Chosen
from mis_dataset.assemble.counts import Counts, outcomes
from mis_dataset.assemble.facts import BuildFacts
from mis_dataset.assemble.layout import COMPOSITION, PREVIEW, matching, present_configs, schema_of
from mis_dataset.assemble.parquet import FileSize
from mis_dataset.budget import per_row
from mis_dataset.records import Screened
from mis_dataset.resources import resource
from mis_dataset.schema import load_schema, yaml_features
from mis_dataset.taxonomy import taxonomy

_POWERS = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_SIZES = ("n<1K", *(f"{low}<n<{high}" for low, high in itertools.pairwise(_POWERS)))
"""The Hub's names for sizes, each ten times the one before it."""
_SAFETY = ("multi-image", "safety", "red-teaming")
_MADE_HERE = ("over-refusal", "chain-of-thought", "vision-language", "synthetic")
_FOR_ALL = ("not-for-all-audiences", "mis-dataset")


def data_metadata(files: Sequence[FileSize]) -> dict[str, Any]:
    """The part of the card's YAML that follows from the Parquet files: sizes, configs, features.

    ``num_bytes`` is the size of the data as Arrow tables, ``download_size`` that of the files.
    """
    by_path = {file.path: file for file in files}
    configs = present_configs(by_path)
    default = [by_path[path] for pattern in configs.get("default", {}).values() for path in matching(by_path, pattern)]
    return {
        "size_categories": [_size_category(sum(file.rows for file in default))],
        "configs": [
            {
                "config_name": config,
                "data_files": [{"split": split, "path": pattern} for split, pattern in splits.items()],
                **({"default": True} if config == "default" else {}),
            }
            for config, splits in configs.items()
        ],
        "dataset_info": [_dataset_info(config, splits, by_path) for config, splits in configs.items()],
    }


def read_metadata(card: str) -> dict[str, Any]:
    """The YAML block at the top of a card.

    Raises:
        ValueError: there is none, or it is not valid YAML.
    """
    block = re.match(r"---\n(.*?\n)---\n", card, re.DOTALL)
    if block is None:
        raise ValueError("no YAML block at the top")
    try:
        metadata = yaml.safe_load(block[1])
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {error}") from error
    if not isinstance(metadata, dict):
        raise ValueError("the YAML block is not a mapping")  # noqa: TRY004
    return metadata


def licence_metadata(licence: str) -> dict[str, str]:
    """The part of the card's YAML about a licence: the Hub's identifier, or ``other`` with a name of its form.

    A licence that the Hub has come to know since ``hub_licences.txt`` was written is ``other`` too, which it takes.
    """
    name = re.sub(r"[^a-z0-9.+]+", "-", licence.lower()).strip("-")
    known = resource("dataset_card", "hub_licences.txt").read_text(encoding="utf-8").split()
    return {"license": name} if name in known else {"license": "other", "license_name": name}


def card_tags(facts: BuildFacts) -> list[str]:
    """What the Hub finds the dataset by: tags of our own, then the recipe's."""
    ours = (*_SAFETY, *(("vision-language",) if facts.imported else _MADE_HERE), *_FOR_ALL)
    return list(dict.fromkeys((*ours, *facts.card.tags)))


def environment() -> jinja2.Environment:
    """What fills the templates of ``dataset_card``; a name that a template lacks is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("dataset_card")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; what could break it goes through the filters below
    )
    made.filters |= {
        "cell": _cell,
        "line": _line,
        "share": _share,
        "measure": _measure,
        "money": _money,
        "yaml": _yaml,
        "code": _code,
    }
    return made


def render_card(rows: Chosen, counts: Counts, facts: BuildFacts, files: Sequence[FileSize]) -> str:
    """The whole card as text."""
    template = environment().get_template("IMPORTED.md.j2" if facts.imported else "README.md.j2")
    example, twin = _example(rows)
    return template.render(
        metadata=_yaml(data_metadata(files)),
        card=facts.card,
        licence=licence_metadata(facts.card.license),
        tags=card_tags(facts),
        facts=facts,
        counts=counts,
        per_row=per_row(facts.spent, counts.rows),
        taxonomy=taxonomy(),
        outcomes=outcomes(facts.funnel),
        columns=load_schema("row")["properties"],
        example=example,
        twin=twin,
        composition=COMPOSITION,
        preview=PREVIEW,
        version=__version__,
    )


def _example(rows: Chosen) -> tuple[Screened | None, Screened | None]:
    """The row to show, harmful and if possible hard and with a twin, and that twin."""
    harmful = (row for row in rows.outlines if row.intent == "harmful")
    example = min(harmful, key=lambda row: (row.subset != "hard", row.twin_id is None), default=None)
    twin = next((row for row in rows.outlines if example and row.id == example.twin_id), None)
    return rows.row(example) if example else None, rows.row(twin) if twin else None


def _dataset_info(config: str, splits: dict[str, str], files: dict[str, FileSize]) -> dict[str, Any]:
    of_split = {split: [files[path] for path in matching(files, pattern)] for split, pattern in splits.items()}
    return {
        "config_name": config,
        "features": yaml_features(schema_of(config)),
        "splits": [
            {
                "name": split,
                "num_bytes": sum(file.data_bytes for file in members),
                "num_examples": sum(file.rows for file in members),
            }
            for split, members in of_split.items()
        ],
        "download_size": sum(file.file_bytes for members in of_split.values() for file in members),
        "dataset_size": sum(file.data_bytes for members in of_split.values() for file in members),
    }


def _size_category(rows: int) -> str:
    return next((name for power, name in enumerate(_SIZES, 3) if rows < 10**power), "n>1T")


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000))


def _cell(value: object) -> str:
    """Text that breaks neither out of a table's cell nor into HTML."""
    return _line(value).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "\\`")


def _line(value: object) -> str:
    """Text on one line."""
    return " ".join(str(value).split())


def _code(value: Any) -> str:
    """JSON for a fenced block; it has no line that could end the block, for line ends in the data are escaped."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def _measure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _money(usd: float | None) -> str:
    return "-" if usd is None else f"{usd:.4f}" if usd < 1 else f"{usd:,.2f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
