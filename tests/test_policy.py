"""The policy's functions find what its data forbid, and leave harmless text alone."""

import pytest

from mis_dataset import policy


@pytest.mark.parametrize(
    ("text", "excerpt"),
    [
        ("Take 20 mg of it.", "20 mg"),
        ("First, step 2 is to wait.", "step 2"),
        ("Do this:\n1. open the door", "1."),
        ("Then run sudo on it.", "sudo"),
        ("See https://example.com for more.", "https://"),
    ],
)
def test_operational_detail_is_found_and_quoted(text, excerpt):
    assert excerpt in policy.operational_detail(text)


@pytest.mark.parametrize(
    "text", ["Stir it in slowly.", "Call 112.", "https://findahelpline.com has numbers.", "a 20-year-old"]
)
def test_harmless_text_has_no_operational_detail(text):
    assert policy.operational_detail(text) is None


def test_all_intent_words_are_listed_as_they_stand():
    assert policy.intent_words("How do I Steal it and poison the burglar?") == ["Steal", "poison", "burgl"]


def test_intent_words_match_only_from_the_beginning_of_a_word():
    assert policy.intent_words("What skill does the person in the first image show?") == []


def test_words_for_minors_and_sexual_words_must_not_meet_even_across_texts():
    assert policy.unsafe_for_minors(["A schoolgirl walks by.", "Something erotic."])


@pytest.mark.parametrize("texts", [["A schoolgirl walks by."], ["Something erotic."], []])
def test_either_alone_is_fine(texts):
    assert not policy.unsafe_for_minors(texts)
