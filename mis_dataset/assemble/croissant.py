"""Croissant metadata: what the dataset is, where its rows lie and how to read them, for tools that know no other card.

The file follows Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html) with the responsible-AI
vocabulary 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html). Its words stand in
``responsible_ai.yaml.j2`` of ``dataset_card``, and its numbers are the card's. The Hub makes such metadata for every
Parquet dataset by itself, but cannot know what the responsible-AI vocabulary asks.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import yaml

from mis_dataset import __version__
from mis_dataset.assemble.card import card_tags, environment
from mis_dataset.assemble.counts import Counts, outcomes
from mis_dataset.assemble.facts import BuildFacts
from mis_dataset.assemble.layout import present_configs, schema_of
from mis_dataset.schema import arrow_schema, load_schema
from mis_dataset.taxonomy import taxonomy

DATED = "2026-11-22"
"""The day of this version of mis-dataset, as in ``CITATION.cff``. Croissant wants a day of publication, and a dataset
cannot know its own: the same recipe gives the same bytes on any day."""

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of Croissant 1.0, whole, as readers expect it."""

_TYPES = {pa.string(): "sc:Text", pa.int64(): "sc:Integer", pa.float64(): "sc:Float", pa.bool_(): "sc:Boolean"}

_LEFT_OUT = "messages"
"""The column that repeats question and response, in lists within lists, of which Croissant cannot tell."""


def render_croissant(counts: Counts, facts: BuildFacts, paths: Collection[str]) -> str:
    """The whole of ``croissant.json``.

    Args:
        counts: the numbers of the card.
        facts: what else the card tells.
        paths: of the dataset's Parquet files.
    """
    configs = present_configs(paths)
    text = environment().get_template("responsible_ai.yaml.j2")
    said = yaml.safe_load(
        text.render(
            card=facts.card,
            facts=facts,
            counts=counts,
            outcomes=outcomes(facts.funnel),
            taxonomy=taxonomy(),
            version=__version__,
        )
    )
    metadata = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": facts.card.pretty_name,
        "description": said.pop("description"),
        "license": facts.card.license,
        "version": f"{__version__}+{facts.fingerprint[:12]}",
        "datePublished": DATED,
        "inLanguage": list(facts.card.languages),
        "keywords": card_tags(facts),
        "citeAs": said.pop("citeAs"),
        "isLiveDataset": False,
        **{f"rai:{name}": value for name, value in said.items()},
        "distribution": [_file_set(config, splits) for config, splits in configs.items()],
        "recordSet": [_record_set(config) for config in configs],
    }
    return json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"


def _file_set(config: str, splits: Mapping[str, str]) -> dict[str, Any]:
    """The Parquet files of a config."""
    return {
        "@type": "cr:FileSet",
        **_named(
            f"{config}-files", f"The Parquet files of the config {config}; manifest.json has the SHA-256 of each."
        ),
        "encodingFormat": "application/x-parquet",
        "includes": [f"{pattern}.parquet" for pattern in splits.values()],
    }


def _record_set(config: str) -> dict[str, Any]:
    """The rows of a config, but for what lies in lists within lists."""
    schema = load_schema(schema_of(config))
    split = {
        "@type": "cr:Field",
        **_named(f"{config}/split", "train or test, as the name of the file says."),
        "dataType": "sc:Text",
        "source": _source(config, {"fileProperty": "fullpath"}, {"regex": r"\w+/(train|test)-.*"}),
    }
    columns = [
        _field(config, (column.name,), column.type, schema["properties"][column.name])
        for column in arrow_schema(schema_of(config))
        if column.name != _LEFT_OUT
    ]
    return {"@type": "cr:RecordSet", **_named(config, schema["title"]), "field": [split, *columns]}


def _field(config: str, path: tuple[str, ...], kind: pa.DataType, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A column, or what stands at a place within one.

    Args:
        config: where the column is.
        path: the names from the column to the place.
        kind: of what stands there.
        schema: the JSON Schema of it.
    """
    field = {"@type": "cr:Field", **_named("/".join([config, *path]), schema.get("description", ""))}
    in_list = pa.types.is_list(kind)
    if in_list:
        kind, schema = kind.value_type, schema["items"]
        field["repeated"] = True
    if schema.get("x-feature") == "image":
        return {**field, "dataType": "sc:ImageObject", "source": _place(config, (*path, "bytes"))}
    if not pa.types.is_struct(kind):
        return {**field, "dataType": _TYPES[kind], "source": _place(config, path)}
    parts = [part for part in kind if not (in_list and pa.types.is_list(part.type))]
    inside = [_field(config, (*path, part.name), part.type, schema["properties"][part.name]) for part in parts]
    return {**field, "subField": inside}


def _place(config: str, path: tuple[str, ...]) -> dict[str, Any]:
    column, *inner = path
    return _source(config, {"column": column}, {"jsonPath": ".".join(inner)} if inner else {})


def _source(config: str, extract: Mapping[str, str], transform: Mapping[str, str]) -> dict[str, Any]:
    source = {"fileSet": {"@id": f"{config}-files"}, "extract": extract}
    return {**source, "transform": transform} if transform else source


def _named(name: str, description: str) -> dict[str, Any]:
    return {"@id": name, "name": name, **({"description": description} if description else {})}
