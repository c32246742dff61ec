"""The task folder as lmms-eval reads it.

The package installs, but needs many others. What it does is written down from version 0.7.3: ``lmms_eval/utils.py``
(`load_yaml_config`: ``!function`` names a function of a file beside the YAML; relative ``data_files`` of local builders
are looked for there, too) and ``lmms_eval/api/task.py`` (`TaskConfig`: the known keys; `ConfigurableTask.download`:
``datasets.load_dataset``). Its own task manager listed the tasks of the sample dataset, loaded and scored them.
"""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from datasets import Image as ImageFeature
from datasets import load_dataset

from mis_dataset.evaluate.responses import read_responses

KEYS = {
    *("task", "dataset_path", "dataset_kwargs", "test_split", "output_type", "doc_to_visual", "doc_to_text"),
    *("doc_to_target", "process_results", "generation_kwargs", "metric_list", "metadata"),
}


class Loader(yaml.SafeLoader):
    """Resolves ``!function`` as lmms-eval does."""


def function(loader: Loader, node: yaml.Node):
    module, name = loader.construct_scalar(node).split(".")
    path = Path(loader.name).parent / f"{module}.py"
    spec = importlib.util.spec_from_file_location(module, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return getattr(loaded, name)


Loader.add_constructor("!function", function)


def config(path: Path) -> dict:
    with path.open() as file:
        return yaml.load(file, Loader)  # a safe loader with one tag more


@pytest.fixture
def folder(exported):
    return exported("lmms-eval")


@pytest.fixture
def docs(folder, tmp_path):
    task = config(folder / "mis_hard.yaml")
    data_files = {split: str(folder / name) for split, name in task["dataset_kwargs"]["data_files"].items()}
    return load_dataset(task["dataset_path"], data_files=data_files, cache_dir=str(tmp_path / "cache"))["test"]


def test_the_group_names_the_tasks(folder):
    group = config(folder / "mis.yaml")
    assert group == {"group": "mis", "task": ["mis_easy", "mis_hard"]}
    for name in group["task"]:
        task = config(folder / f"{name}.yaml")
        assert task["task"] == name
        assert set(task) <= KEYS


def test_an_answer_may_have_several_paragraphs(folder):
    # Where `until` is missing, lmms-eval stops at the first empty line.
    assert config(folder / "mis_easy.yaml")["generation_kwargs"]["until"] == []


def test_documents_have_what_the_functions_need(folder, docs, rows):
    task = config(folder / "mis_hard.yaml")
    expected = [row for row in rows if row["subset"] == "hard"]
    assert len(docs) == len(expected)
    for doc, row in zip(docs, expected, strict=True):
        assert task["doc_to_text"](doc) == row["question"]
        assert task["doc_to_text"](doc, {"pre_prompt": "<", "post_prompt": ">"}) == f"<{row['question']}>"
        assert [image.size for image in task["doc_to_visual"](doc)] == [(48, 48)] * len(row["images"])
        assert task["doc_to_target"](doc) == row["response"]


def test_each_image_is_a_column_that_can_be_left_out(docs):
    images = [name for name, feature in docs.features.items() if isinstance(feature, ImageFeature)]
    assert images == ["image_1", "image_2", "image_3", "image_4"]
    assert "bytes" in docs.cast_column("image_1", ImageFeature(decode=False))[0]["image_1"]


def test_answers_can_be_judged_by_mis_evaluate(folder, docs, dataset, tmp_path):
    task = config(folder / "mis_hard.yaml")
    results = [task["process_results"](doc, [f"Answer to {doc['id']}."])["answered"] for doc in docs]
    [metric] = task["metric_list"]
    assert metric["metric"] == "answered"
    assert metric["aggregation"](results, args=SimpleNamespace(output_path=str(tmp_path / "logs"))) == 1.0
    cases = read_responses(tmp_path / "logs" / "answers_mis_hard.jsonl", data=str(dataset))
    assert {case.row.id: case.row.response for case in cases} == {doc["id"]: f"Answer to {doc['id']}." for doc in docs}


def test_answers_that_are_empty_lower_the_share(folder, docs, tmp_path):
    task = config(folder / "mis_hard.yaml")
    results = [task["process_results"](doc, ["" if place else "Yes."])["answered"] for place, doc in enumerate(docs)]
    share = task["metric_list"][0]["aggregation"](results, args=SimpleNamespace(output_path=str(tmp_path)))
    assert share == 1 / len(docs)
    first = json.loads((tmp_path / "answers_mis_hard.jsonl").read_text().splitlines()[0])
    assert first == {"id": docs[0]["id"], "response": "Yes."}
