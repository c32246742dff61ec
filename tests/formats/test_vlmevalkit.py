"""The TSV as VLMEvalKit reads it.

VLMEvalKit does not install from a registry. What it does is written down from its repository (e8e78f0):
``vlmeval/smp/file.py`` (`load_tsv` is pandas' ``read_csv`` with tabs), ``vlmeval/smp/misc.py`` (`toliststr` evaluates a
cell that looks like a list), ``vlmeval/dataset/__init__.py`` (`build_dataset` takes a TSV with ``question`` and without
``A`` and ``B`` for a `CustomVQADataset`) and ``image_base.py`` (`ImageBaseDataset`: an integer ``index``; several
images want as many names in ``image_path``). Its own `CustomVQADataset` took the export of the sample dataset.
"""

import ast
import base64

import pandas as pd
import pytest


@pytest.fixture
def folder(exported):
    return exported("vlmevalkit")


def test_it_is_taken_for_a_dataset_of_questions_and_images(folder):
    data = pd.read_csv(folder / "MIS_hard.tsv", sep="\t")
    assert {"index", "image", "image_path", "question"} <= set(data)
    assert not {"A", "B"} & set(data)
    assert data["index"].tolist() == list(range(len(data)))


@pytest.mark.parametrize("subset", ["easy", "hard"])
def test_questions_and_images_come_back(subset: str, folder, rows):
    data = pd.read_csv(folder / f"MIS_{subset}.tsv", sep="\t")
    expected = [row for row in rows if row["subset"] == subset]
    assert data["id"].tolist() == [row["id"] for row in expected]
    assert data["intent"].tolist() == [row["intent"] for row in expected]
    for (_, line), row in zip(data.iterrows(), expected, strict=True):
        assert line["question"] == row["question"]
        assert line["image"].startswith("[")
        images, names = ast.literal_eval(line["image"]), ast.literal_eval(line["image_path"])
        assert len(images) == len(names) == len(set(names))
        assert [base64.b64decode(image, validate=True) for image in images] == [
            image["bytes"] for image in row["images"]
        ]


@pytest.mark.parametrize(
    "question", ['Say "this"\tand that.', "One line.\nAnother one.", "Half a line.\rThe rest.", "'Quoted' first?", "NA"]
)
def test_awkward_questions_come_back(question: str, changed, exported):
    folder = exported("vlmevalkit", changed(lambda row: [{**row, "question": f"{question} #{row['id']}"}]))
    data = pd.read_csv(folder / "MIS_hard.tsv", sep="\t")
    assert data["question"].tolist() == [f"{question} #{name}" for name in data["id"]]


def test_the_name_is_yours(exported):
    assert (exported("vlmevalkit", name="MyMIS") / "MyMIS_easy.tsv").is_file()
