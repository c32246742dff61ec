"""Parsing a teacher's words: forgiving of what surrounds the JSON, strict about what is in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mis_dataset.records import Rejected
from mis_dataset.teach._parse import TeacherAnswer, answer_schema, parse_answer

GOOD = {"perception": ["A cup.", "A key."], "reasoning": "They meet.", "answer": "I won't, but here is help."}
PARSED = TeacherAnswer(("A cup.", "A key."), "They meet.", "I won't, but here is help.")
TEXT = json.dumps(GOOD)
DRAFT = json.dumps({**GOOD, "answer": "A first idea."})


def fault(text: str) -> str:
    """What the parser has against a text that it must call malformed."""
    result = parse_answer(text, 2)
    assert isinstance(result, Rejected)
    assert result.reason == "malformed"
    return result.detail


def changed(**values: object) -> str:
    return json.dumps({**GOOD, **values})


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        json.dumps(GOOD, indent=4),
        f"Here is the label you asked for:\n\n{TEXT}\n\nI hope that it helps!",
        f"```json\n{TEXT}\n```",
        f"```\n{TEXT}\n```",
        f"<think>I could say {DRAFT}, or better:</think>{TEXT}",
        f"In the form {{perception, reasoning, answer}} it is {TEXT}",
        f"{TEXT} I left out {{}} and {{'this': 1}}.",
        f'{TEXT}{{"perception": ["cut',
        json.dumps({**GOOD, "confidence": 0.9}),
        json.dumps({**GOOD, "answer": "  I won't, but here is help.\n"}),
    ],
    ids=[
        "bare",
        "indented",
        "prose",
        "fence",
        "plain fence",
        "thinking",
        "braces",
        "after",
        "cut",
        "extra key",
        "space",
    ],
)
def test_a_good_answer_is_found(text):
    assert parse_answer(text, 2) == PARSED


def test_raw_line_breaks_in_a_text_are_kept():
    text = TEXT.replace("They meet.", "They\nmeet.")
    assert parse_answer(text, 2).reasoning == "They\nmeet."


def test_braces_and_quotes_in_a_text_are_kept():
    text = changed(answer='Say "{hello}" and ```nothing``` else.')
    assert parse_answer(text, 2).answer == 'Say "{hello}" and ```nothing``` else.'


def test_lone_surrogates_cannot_get_into_a_row():
    assert parse_answer(changed(answer="\ud83d oh"), 2).answer == "? oh"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("The images show a cup and a key.", "no complete JSON object"),
        (TEXT[:-5], "no complete JSON object"),
        (f"[{TEXT[1:]}", "no complete JSON object"),
        ("{}", "required property"),
        (changed(perception="A cup and a key."), "$.perception"),
        (changed(perception=["A cup.", 2]), "$.perception[1]"),
        (changed(answer=None), "$.answer"),
        (changed(perception=["A cup."]), "1 entries for 2 images"),
        (changed(perception=["A cup.", "A key.", "A car."]), "3 entries for 2 images"),
        (changed(perception=["A cup.", " "]), "blank"),
        (changed(reasoning=""), "blank"),
        (changed(answer="\n"), "blank"),
        ('{"a": ' + "9" * 5000 + "}", "no complete JSON object"),
        ('{"a":' * 3000, "no complete JSON object"),
    ],
)
def test_a_malformed_answer_says_what_to_mend(text, complaint):
    assert complaint in fault(text)


def test_a_complaint_stays_short():
    assert len(fault(changed(answer=["long"] * 1000))) < 300


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I\u2019m sorry, I can\u2019t help with this request.",
        "Sorry, this is not something I can do.",
        "I cannot write that.",
        "I am unable to help with this.",
        "  **I won't** do this.",
        "Unfortunately, I must decline.",
        "I apologize, but no.",
    ],
)
def test_prose_that_declines_is_a_refusal(text):
    assert parse_answer(text, 2).reason == "refused"


def test_a_label_that_begins_with_sorry_is_a_label():
    assert (
        parse_answer(changed(answer="I'm sorry that you feel so bad."), 2).answer == "I'm sorry that you feel so bad."
    )


@given(st.text(alphabet=st.sampled_from('{}[]":,\\ab1\n \ud83d'), max_size=40))
def test_no_text_breaks_the_parser(text):
    # One image: whatever comes out is a whole answer or a reason.
    result = parse_answer(text, 1)
    assert isinstance(result, Rejected) or len(result.perception) == 1


@given(
    perception=st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4),
    answer=st.text(min_size=1).filter(str.strip),
    before=st.text(st.characters(exclude_characters="{"), max_size=20),
    after=st.text(st.characters(exclude_characters="{"), max_size=20),
)
def test_every_good_answer_survives_what_is_around_it(perception, answer, before, after):
    data = {"perception": perception, "reasoning": "So.", "answer": answer}
    parsed = parse_answer(before + json.dumps(data) + after, len(perception))
    assert isinstance(parsed, TeacherAnswer)
    assert parsed.answer == answer.encode("utf-8", "replace").decode().strip()


def test_the_schema_is_valid():
    Draft202012Validator.check_schema(answer_schema())


def test_the_schema_is_one_that_strict_servers_take():
    # OpenAI's strict mode: every property required, none besides.
    schema = answer_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == set(schema["properties"]) == {"perception", "reasoning", "answer"}
