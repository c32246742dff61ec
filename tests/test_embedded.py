"""The embedded composer, teacher and screener together: what the one writes, the other accepts."""

import pytest

from mis_dataset.compose import Brief
from mis_dataset.compose._frames import frames
from mis_dataset.compose.grammar import GrammarComposer
from mis_dataset.records import Labelled, Picture, Scenario
from mis_dataset.screen.rules import RulesScreener
from mis_dataset.teach import LabelRequest
from mis_dataset.teach.template import TemplateTeacher

PICTURE = Picture("p", "0" * 64, "0" * 16, 8, 8, "", "", 0, 0, "m", "r", None, None, "", "cpu", "uint8", 1)


@pytest.fixture(scope="module")
def scenarios() -> list[Scenario]:
    cells = dict.fromkeys(sorted({(frame.subset, frame.sub_category) for frame in frames()}), 60)
    return [row for family in GrammarComposer().compose(Brief(4, cells, 1.0)) for row in family]


@pytest.fixture(scope="module")
def labelled(scenarios: list[Scenario]) -> list[Labelled]:
    labels = TemplateTeacher().teach([LabelRequest(scenario, ()) for scenario in scenarios])
    return [
        Labelled(scenario, (PICTURE,) * len(scenario.images), label)
        for scenario, label in zip(scenarios, labels, strict=True)
    ]


def test_every_frame_is_among_them(scenarios: list[Scenario]):
    assert {row.origin.source for row in scenarios} == {f"grammar:{frame.name}" for frame in frames()}


def test_the_rules_accept_every_embedded_label(labelled: list[Labelled]):
    verdicts = zip(labelled, RulesScreener().screen(labelled), strict=True)
    faults = {
        f"{row.scenario.origin.source} {row.scenario.intent}: {verdict.reason}: {verdict.detail}"
        for row, verdict in verdicts
        if verdict.verdict != "pass"
    }
    assert faults == set()


def test_the_label_is_grounded_in_every_image(labelled: list[Labelled]):
    for row in labelled:
        for image, seen in zip(row.scenario.images, row.label.perception, strict=True):
            assert image.object in seen


def test_labels_vary(labelled: list[Labelled]):
    assert len({row.label.answer for row in labelled}) > len(labelled) / 4
    assert len({row.label.perception[0].split(" ")[0] for row in labelled}) > 1
