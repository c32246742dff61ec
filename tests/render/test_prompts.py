"""What text encoders read, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mis_dataset.render._prompts import RememberedPrompts

torch = pytest.importorskip("torch", reason="needs the extra 'diffusion'")


class Encoder:
    """Embeds a prompt as its length, and notes what it is asked."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.trips = 0

    def encode(
        self,
        prompt: list[str],
        *,
        negative_prompt: list[str] | None = None,
        do_classifier_free_guidance: bool = False,
    ) -> tuple[Any, Any, Any]:
        self.read += prompt
        found = self._embedded(prompt)
        if not do_classifier_free_guidance:
            return found, None, torch.zeros(5, 3)
        negative = negative_prompt or [""] * len(prompt)
        self.read += negative
        return found, self._embedded(negative), torch.zeros(5, 3)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self.trips += 1
        yield

    @staticmethod
    def _embedded(prompts: list[str]) -> Any:
        return torch.tensor([[float(len(prompt))] for prompt in prompts])


def test_a_prompt_is_read_once_and_stands_at_each_of_its_places():
    encoder = Encoder()
    remembered = RememberedPrompts(encoder.encode)
    first, _, same_for_all = remembered(["a", "bbb", "a"])
    again, *_ = remembered(prompt=["bbb", "cc"])
    assert (first.flatten().tolist(), again.flatten().tolist()) == ([1, 3, 1], [3, 2])
    assert encoder.read == ["a", "bbb", "cc"]
    # Position ids, as those of FLUX, have no place for several prompts.
    assert same_for_all.shape == (5, 3)


def test_the_negative_prompt_is_read_once_in_all():
    encoder = Encoder()
    remembered = RememberedPrompts(encoder.encode)
    for prompts in (["a", "bbb"], ["cc", "dd"]):
        found, negative, _ = remembered(prompts, negative_prompt=["hats"] * 2, do_classifier_free_guidance=True)
        assert found.flatten().tolist() == [len(prompt) for prompt in prompts]
        assert negative.flatten().tolist() == [4, 4]
    assert encoder.read == ["a", "hats", "bbb", "cc", "dd"]


def test_another_negative_prompt_is_another_reading():
    encoder = Encoder()
    remembered = RememberedPrompts(encoder.encode)
    found = [remembered(["a"], negative_prompt=[no], do_classifier_free_guidance=True)[1] for no in ("hats", "cap")]
    assert [negative.item() for negative in found] == [4, 3]


def test_the_latest_prompts_are_kept():
    encoder = Encoder()
    remembered = RememberedPrompts(encoder.encode, remembered=2)
    for prompt in ("a", "bb", "a", "ccc", "a", "bb"):
        remembered([prompt])
    assert encoder.read == ["a", "bb", "ccc", "bb"]


def test_a_batch_larger_than_the_window_is_embedded_whole():
    prompts = ["a", "bb", "ccc", "dddd"]
    assert RememberedPrompts(Encoder().encode, remembered=2)(prompts)[0].flatten().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(("looks_ahead", "trips"), [(True, 1), (False, 3)])
def test_encoders_that_are_slow_to_bring_read_ahead(looks_ahead: bool, trips: int):
    encoder = Encoder()
    remembered = RememberedPrompts(encoder.encode, encoder.at_work, looks_ahead=looks_ahead)
    remembered.coming = ["a", "bb", "ccc"]
    for prompt in remembered.coming:
        remembered([prompt])
    assert (encoder.trips, encoder.read) == (trips, ["a", "bb", "ccc"])


def test_embeddings_as_long_as_their_prompts_are_left_to_the_pipeline():
    def encode(prompt: list[str]) -> Any:
        longest = max(map(len, prompt))
        return (torch.tensor([[len(one)] * longest for one in prompt]),)

    assert RememberedPrompts(encode)(["a", "bbb"])[0].tolist() == [[1, 1, 1], [3, 3, 3]]
