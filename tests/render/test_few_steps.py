from __future__ import annotations

import pytest

from mis_dataset.render._few_steps import few_steps


@pytest.mark.parametrize(
    "name",
    [
        "stabilityai/sd-turbo",
        "stabilityai/sdxl-turbo",
        "stabilityai/stable-diffusion-3.5-large-turbo",
        "black-forest-labs/FLUX.1-schnell",
        "someone/xl_Lightning_4step",
    ],
)
def test_models_of_few_steps_are_known_by_their_names(name: str):
    assert few_steps([name]) == {"num_inference_steps": 4, "guidance_scale": 0.0}


@pytest.mark.parametrize("name", ["stabilityai/stable-diffusion-3.5-large", "someone/turbocharged", "hyperion"])
def test_other_models_keep_their_own_defaults(name: str):
    assert few_steps([name, ""]) == {}


def test_what_a_folder_was_saved_from_counts_too():
    assert few_steps(["my-model", "stabilityai/sd-turbo"])
