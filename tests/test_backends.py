"""The contract of every shipped backend, found the way a recipe finds it."""

import inspect
import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from mis_dataset.backends import BACKEND_STAGES, available, find_backend, make_backend, require
from mis_dataset.errors import BackendError
from mis_dataset.options import options_schema

EVERY = [(stage, name) for stage in BACKEND_STAGES for name in available(stage)]
EMBEDDED = {"compose": "grammar", "render": "pictogram", "teach": "template", "screen": "rules"}


def test_every_stage_has_its_embedded_backend():
    for stage, name in EMBEDDED.items():
        assert name in available(stage)


@pytest.mark.parametrize(("stage", "name"), EVERY)
def test_a_backend_is_one_dataclass_with_one_public_method(stage: str, name: str):
    backend = find_backend(stage, name)
    assert is_dataclass(backend)
    public = [key for key, value in vars(backend).items() if inspect.isfunction(value) and not key.startswith("_")]
    assert public == [stage]


@pytest.mark.parametrize(("stage", "name"), EVERY)
def test_every_setting_is_documented(stage: str, name: str):
    backend = find_backend(stage, name)
    assert backend.__doc__
    for key, schema in options_schema(backend)["properties"].items():
        assert schema.get("description"), f"{stage}.{name}.{key} has no description"


@pytest.mark.parametrize(("stage", "name"), EVERY)
def test_settings_are_keywords_with_a_version(stage: str, name: str):
    backend = find_backend(stage, name)
    assert isinstance(vars(backend)["version"], int)
    assert all(item.kw_only for item in fields(backend) if item.init)


@pytest.mark.parametrize(("stage", "name"), EVERY)
def test_finding_a_backend_imports_nothing_heavy(stage: str, name: str):
    # A recipe is checked on a laptop: torch and friends are imported when the work begins, not before.
    code = (
        "import sys; from mis_dataset.backends import find_backend; "
        f"find_backend({stage!r}, {name!r}); "
        "sys.exit(bool({'torch', 'diffusers', 'transformers', 'openai', 'ray'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_embedded_backends_need_no_settings():
    for stage, name in EMBEDDED.items():
        make_backend(stage, name, {})


def test_an_unknown_backend_is_named_with_what_there_is():
    with pytest.raises(
        BackendError, match=r"no backend 'pictogramm'; Did you mean 'pictogram'\?.*diffusion, .*pictogram"
    ):
        find_backend("render", "pictogramm")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:Thing", "cannot import 'no_such_module'"),
        ("mis_dataset.render.pictogram:Nothing", "has no class 'Nothing'"),
        ("mis_dataset.records:Scenario", "not a dataclass with a method 'render'"),
        ("a b:c", "not a dotted path"),
    ],
)
def test_a_wrong_dotted_path_says_what_is_wrong(path: str, message: str):
    with pytest.raises(BackendError, match=message):
        find_backend("render", path)


def test_a_dotted_path_finds_a_class():
    assert find_backend("render", "mis_dataset.render.pictogram:PictogramRenderer").__name__ == "PictogramRenderer"


def test_a_missing_extra_names_the_command():
    with pytest.raises(BackendError, match=r"pip install 'mis-dataset\[diffusion\]'"):
        require("a_module_that_nobody_has", "diffusion")
