"""The cluster's file is one that Ray takes, and says nothing that its parts contradict."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

import mis_dataset

ROOT = Path(__file__).parents[2]
FOLDER = "/mnt/mis"


@pytest.fixture(scope="module")
def cluster() -> Any:
    return yaml.safe_load((ROOT / "builder_scripts" / "ray-cluster.yaml").read_text("utf-8"))


def commands(cluster: Any) -> str:
    return "\n".join(line for key, lines in cluster.items() if key.endswith("commands") for line in lines)


def test_it_follows_rays_own_schema(cluster: Any):
    ray = importlib.util.find_spec("ray")  # not imported: that takes seconds
    if ray is None or ray.origin is None:
        pytest.skip("ray is not installed")
    schema = Path(ray.origin).parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(cluster, json.loads(schema.read_text("utf-8")))


def test_its_node_types_are_what_the_engines_workers_ask_for(cluster: Any):
    types = dict(cluster["available_node_types"])
    first = types.pop(cluster["head_node_type"])
    # The machine with the build itself draws nothing, and is not one that may be taken away.
    assert first["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in first["node_config"]
    (draws,) = types.values()
    assert draws["resources"]["GPU"] > 0
    # The engine counts GPUs when it starts: machines that come later would stay idle.
    assert draws["min_workers"] == draws["max_workers"] == cluster["max_workers"]


def test_all_machines_mount_the_folder_that_the_build_works_in(cluster: Any):
    assert f"-v {FOLDER}:{FOLDER}" in cluster["docker"]["run_options"]
    assert any(line.rstrip().endswith(f":/ {FOLDER}") for line in cluster["initialization_commands"])
    text = (ROOT / "builder_scripts" / "ray-cluster.yaml").read_text("utf-8")
    places = re.findall(r"--(?:out|work) (\S+)", text)
    assert places
    assert all(place.startswith(FOLDER) for place in places)


def test_it_installs_this_version_with_extras_that_exist(cluster: Any):
    (named,) = re.findall(r"pip install '(mis-dataset[^']*)'", commands(cluster))
    ours = Requirement(named)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert str(ours.specifier) == f"=={mis_dataset.__version__}"
    assert ours.extras <= project["optional-dependencies"].keys()


def test_the_image_has_the_ray_that_the_extra_brings(cluster: Any):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = [Requirement(line) for line in project["optional-dependencies"]["ray"]]
    (ray,) = (pin for pin in pins if pin.name == "ray")
    (version,) = re.findall(r":([\d.]+)-py", cluster["docker"]["image"])
    assert ray.specifier.contains(version)
