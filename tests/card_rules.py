"""What the Hub demands of the YAML block of a dataset card.

The keys are those of https://github.com/huggingface/hub-docs/blob/main/datasetcard.md, the licences those of
https://github.com/huggingface/huggingface_hub/issues/4218; creators, sizes and languages come with `datasets`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs, _NoDuplicateSafeLoader, known_task_ids
from huggingface_hub import DatasetCardData
from yaml import YAMLError
from yaml import load as load_yaml

_RESOURCES = Path(datasets.__file__).parent / "utils" / "resources"
_KEYS = {
    "annotations_creators",
    "config_names",
    "configs",
    "dataset_info",
    "extra_gated_button_content",
    "extra_gated_description",
    "extra_gated_fields",
    "extra_gated_heading",
    "extra_gated_prompt",
    "language",
    "language_bcp47",
    "language_creators",
    "language_details",
    "license",
    "license_details",
    "license_link",
    "license_name",
    "multilinguality",
    "paperswithcode_id",
    "pretty_name",
    "size_categories",
    "source_datasets",
    "tags",
    "task_categories",
    "task_ids",
    "thumbnail",
    "train-eval-index",
    "viewer",
}
_LICENCES = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
    lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0
    openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
    fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma unknown other
"""
# `datasets` lists the tasks as they were when its list was last brought up to date.
_TASKS = {*known_task_ids, "image-text-to-text", "any-to-any", "image-text-to-video"}


def card_problems(card: str) -> list[str]:
    """Everything for which the Hub would refuse a card."""
    if not card.startswith("---\n") or "\n---\n" not in card[4:]:
        return ["no YAML block at the top"]
    try:
        found = load_yaml(card[4:].partition("\n---\n")[0], _NoDuplicateSafeLoader)
    except (YAMLError, TypeError) as error:
        return [str(error)]
    return list(_problems(found)) if isinstance(found, dict) else ["the YAML block is not a mapping"]


def _problems(found: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(found.keys() - _KEYS):
        yield f'"{key}" is not allowed'
    creators, languages = _resource("creators"), _resource("languages")
    yield from _one_of(found, "license", _LICENCES.split())
    if found.get("license") == "other" and not re.fullmatch(r"[a-z0-9.+-]+", found.get("license_name", "")):
        yield '"license_name", in small letters with hyphens, is required where "license" is "other"'
    yield from _one_of(found, "language", {*languages, "multilingual"})
    yield from _one_of(found, "size_categories", _resource("size_categories"))
    yield from _one_of(found, "multilinguality", _resource("multilingualities"))
    yield from _one_of(found, "annotations_creators", creators["annotations"])
    yield from _one_of(found, "language_creators", creators["language"])
    yield from _one_of(found, "task_categories", _TASKS)
    if not all(one == "original" or one.startswith("extended") for one in _listed(found.get("source_datasets"))):
        yield '"source_datasets" must be "original", "extended" or "extended|…"'
    tags = _listed(found.get("tags"))
    if not all(isinstance(tag, str) and tag for tag in tags) or len(set(tags)) != len(tags):
        yield '"tags" must be different texts'
    if not isinstance(found.get("pretty_name", ""), str):
        yield '"pretty_name" must be a string'
    kinds = {"text", "checkbox", "date_picker", "country", "ip_location"}
    if not set(found.get("extra_gated_fields", {}).values()) <= kinds:
        yield f'"extra_gated_fields" must be of {sorted(kinds)}'
    yield from _configs(found)


def _configs(found: Mapping[str, Any]) -> Iterator[str]:
    """Read configs and features as `datasets` does; and the two must be about the same."""
    data = DatasetCardData(**{key: found[key] for key in ("configs", "dataset_info") if key in found})
    try:
        configs = MetadataConfigs.from_dataset_card_data(data)
        infos = DatasetInfosDict.from_dataset_card_data(data)
    except (ValueError, KeyError, TypeError) as error:
        yield f"configs or dataset_info cannot be read: {error}"
        return
    if configs.keys() != infos.keys():
        yield f"configs are {sorted(configs)}, but dataset_info has {sorted(infos)}"
    if configs and configs.get_default_config_name() is None:
        yield "no config is the default"


def _one_of(found: Mapping[str, Any], key: str, allowed: Any) -> Iterator[str]:
    if wrong := [value for value in _listed(found.get(key)) if value not in allowed]:
        yield f'"{key}" must be one of the Hub\'s, and {wrong} is not'


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _resource(name: str) -> Any:
    return json.loads((_RESOURCES / f"{name}.json").read_text(encoding="utf-8"))
