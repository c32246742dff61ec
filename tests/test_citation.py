"""``CITATION.cff`` follows the Citation File Format 1.2.0, as far as we use it, and says what the package says.

The rules are those of https://github.com/citation-file-format/citation-file-format/blob/1.2.0/schema-guide.md.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, FormatChecker

import mis_dataset

ROOT = Path(__file__).parents[1]

_TEXT = {"type": "string", "minLength": 1}
_URL = {"type": "string", "pattern": "^(https|http|ftp|sftp)://.+"}
_DATE = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
_PERSON = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "family-names": _TEXT,
        "given-names": _TEXT,
        "affiliation": _TEXT,
        "email": {"type": "string", "pattern": r"^[\S]+@[\S]+\.[\S]{2,}$"},
        "orcid": {"type": "string", "pattern": r"^https://orcid\.org/[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{3}[0-9X]$"},
        "website": _URL,
        "alias": _TEXT,
    },
    "minProperties": 1,
}
_ENTITY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": _TEXT,
        "website": _URL,
        "email": _TEXT,
        "country": {"type": "string", "pattern": "^[A-Z]{2}$"},
    },
    "required": ["name"],
}
_AUTHORS = {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"anyOf": [_PERSON, _ENTITY]}}
_IDENTIFIERS = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"type": {"enum": ["doi", "url", "swh", "other"]}, "value": _TEXT, "description": _TEXT},
        "required": ["type", "value"],
    },
}
_REFERENCE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["article", "book", "conference-paper", "data", "dataset", "generic", "report", "software"]},
        "title": _TEXT,
        "authors": _AUTHORS,
        "collection-title": _TEXT,
        "conference": _ENTITY,
        "doi": {"type": "string", "pattern": r"^10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-\.\(\)\[\]\\]+$"},
        "identifiers": _IDENTIFIERS,
        "url": _URL,
        "year": {"type": "integer"},
    },
    "required": ["authors", "title", "type"],
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "cff-version": {"const": "1.2.0"},
        "message": _TEXT,
        "type": {"enum": ["dataset", "software"]},
        "title": _TEXT,
        "abstract": _TEXT,
        "authors": _AUTHORS,
        "version": {"type": ["string", "number"]},
        "date-released": _DATE,
        "license": _TEXT,
        "keywords": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _TEXT},
        "url": _URL,
        "repository-code": _URL,
        "identifiers": _IDENTIFIERS,
        "references": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _REFERENCE},
        "preferred-citation": _REFERENCE,
    },
    "required": ["authors", "cff-version", "message", "title"],
}


@pytest.fixture
def citation() -> dict[str, Any]:
    # The format's own reading: days are texts, not dates.
    found: dict[str, Any] = yaml.load((ROOT / "CITATION.cff").read_text(encoding="utf-8"), yaml.BaseLoader)
    found["references"][0]["year"] = int(found["references"][0]["year"])
    return found


def test_it_follows_the_format(citation: dict[str, Any]):
    Draft7Validator(SCHEMA, format_checker=FormatChecker()).validate(citation)


def test_it_says_what_the_package_says(citation: dict[str, Any]):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == mis_dataset.__version__
    assert citation["license"] == project["license"]
    assert set(citation["keywords"]) == set(project["keywords"])


def test_it_names_the_paper_as_the_card_does(citation: dict[str, Any]):
    paper = (ROOT / "dataset_card" / "parts" / "citation.bib.j2").read_text(encoding="utf-8")
    [reference] = citation["references"]
    names = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in reference["authors"])
    assert f"author    = {{{names}}}" in paper
    assert f"title     = {{{reference['title']}}}" in paper
    assert f"year      = {{{reference['year']}}}" in paper
    assert reference["identifiers"][0]["value"] in paper
