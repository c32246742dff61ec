"""The Python interface: these names and no others, light to import, typed, documented; and it works."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import types
import typing
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, IterableDataset
from hub import READER, WRITER, Blob, Hub, Repository
from huggingface_hub.utils import close_session
from official_files import OfficialFiles
from recipes import contents, tiny, tiny_text

import mis_dataset
from mis_dataset import MisError, api
from mis_dataset.cli._console import default_work
from mis_dataset.errors import DatasetError, OutputError, RecipeError, UsageError
from mis_dataset.intake import import_dataset

# `huggingface_hub` uploads in a way that its own HTTP library discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")

FUNCTIONS = ["build", "export", "load", "push", "validate"]


@pytest.fixture(scope="module")
def mis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "recipe.toml").write_text(tiny_text())
    report = mis_dataset.build(folder / "recipe.toml", folder / "mis")
    assert report.out == folder / "mis"
    return folder / "mis"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_these_names_are_exported():
    assert mis_dataset.__all__ == ["MisError", "__version__", *FUNCTIONS]
    assert dir(mis_dataset) == mis_dataset.__all__
    assert sorted(api.__all__) == FUNCTIONS


# Whatever else lies in the package's namespace is a module of it, or one that it needs.
def test_no_other_name_is_there_by_accident():
    names = {name for name, value in vars(mis_dataset).items() if not isinstance(value, types.ModuleType)}
    public = {name for name in names if not name.startswith("_")}
    assert public - {"annotations"} <= set(mis_dataset.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        mis_dataset.train  # noqa: B018


def test_importing_it_teaches_the_name_and_loads_no_more():
    code = (
        "import sys, mis_dataset, datasets\n"
        "assert 'mis' in datasets.packaged_modules._PACKAGED_DATASETS_MODULES\n"
        "heavy = {'mis_dataset.api', 'mis_dataset.pipeline', 'mis_dataset.publish', 'torch', 'openai', 'ray'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
        "assert mis_dataset.build.__module__ == 'mis_dataset.api'\n"
        "assert 'torch' not in sys.modules\n"
        "from mis_dataset import *\n"
        "assert load is mis_dataset.load\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=Path(mis_dataset.__file__).parents[1], check=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_types_can_be_resolved(name: str):
    function = getattr(mis_dataset, name)
    assert typing.get_type_hints(function).keys() == {*inspect.signature(function).parameters, "return"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_docstring_tells_all(name: str):
    function = getattr(mis_dataset, name)
    text = inspect.getdoc(function) or ""
    told = re.findall(r"^    (?:\*\*)?(\w+): ", text.partition("Args:")[2].partition("Returns:")[0], re.MULTILINE)
    assert told == list(inspect.signature(function).parameters)
    assert "Returns:" in text
    raised = re.findall(r"^    (\w+Error): ", text.partition("Raises:")[2], re.MULTILINE)
    assert all(issubclass(getattr(mis_dataset.errors, error), MisError) for error in raised)
    assert raised or name == "validate"


def test_a_recipe_may_be_a_path_or_loaded(mis: Path, tmp_path: Path):
    recipe = tiny(tmp_path)
    again = mis_dataset.build(recipe, str(tmp_path / "mis"), str(mis.parent / "work"))
    assert contents(tmp_path / "mis") == contents(mis)
    assert again.split is not None


def test_work_lies_where_the_command_keeps_it(mis: Path):
    assert any(default_work(mis, None).glob("screen-*"))


def test_a_build_can_be_small_and_stop_early(mis: Path, tmp_path: Path):
    report = mis_dataset.build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", to="compose", limit=2)
    assert report.out is None
    assert not (tmp_path / "mis").exists()
    for wrong in ({"to": "paint"}, {"limit": 0}):
        with pytest.raises(UsageError):
            mis_dataset.build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", **wrong)


def test_errors_are_the_packages_own(mis: Path, tmp_path: Path):
    (tmp_path / "bad.toml").write_text("name = 1")
    with pytest.raises(RecipeError):
        mis_dataset.build(tmp_path / "bad.toml", tmp_path / "mis")
    with pytest.raises(OutputError):
        mis_dataset.export(mis, "llava", mis)
    for wrong, words in (
        ({"dialect": "klingon"}, "klingon"),
        ({"intent": "nope"}, "there is no intent 'nope'; there are harmful, all"),
        ({"subsets": "train"}, r"give a list of names, such as \['train'\]"),
    ):
        with pytest.raises(UsageError, match=words):
            mis_dataset.export(mis, "llava", tmp_path / "out", **wrong)
    with pytest.raises(UsageError):
        mis_dataset.push(mis, "no-organisation", token=WRITER)


def test_a_directory_loads_by_path_or_text(mis: Path):
    train = mis_dataset.load(mis, split="train")
    assert isinstance(train, Dataset)
    both = mis_dataset.load(str(mis))
    assert isinstance(both, DatasetDict)
    assert both["train"]["id"][:] == train["id"][:]
    assert set(mis_dataset.load(mis, "hard", "test")["subset"]) == {"hard"}
    assert isinstance(mis_dataset.load(mis, "easy", "test", streaming=True), IterableDataset)


def test_mis_is_what_was_built_here(mis: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(mis.parent)
    assert mis_dataset.load(split="train")["id"][:] == mis_dataset.load(mis, split="train")["id"][:]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"config": "harder"}, "harder"), ({"split": "dev"}, "dev"), ({"revision": "v1"}, "has no revision")],
)
def test_what_a_dataset_lacks_is_told(mis: Path, options: dict[str, str], message: str):
    with pytest.raises(UsageError, match=message):
        mis_dataset.load(mis, **options)


def test_a_folder_that_is_no_dataset_is_told(tmp_path: Path):
    for place in (tmp_path, str(tmp_path), tmp_path / "nowhere"):
        with pytest.raises(DatasetError):
            mis_dataset.load(place)


@pytest.mark.parametrize("config", ["default", "provenance"])
def test_a_file_that_was_cut_off_is_told(mis: Path, tmp_path: Path, config: str):
    cut = Path(shutil.copytree(mis, tmp_path / "mis"))
    for path in cut.rglob("train-*.parquet"):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=rf"{cut} cannot be read:\n  - .*; `mis validate` says more"):
        mis_dataset.load(cut, config)


def test_what_validate_finds_is_listed(mis: Path, tmp_path: Path):
    assert mis_dataset.validate(str(mis)) == []
    [problem] = mis_dataset.validate(tmp_path)
    assert problem.where == "manifest.json"


def test_an_export_can_be_imported_again(mis: Path, tmp_path: Path):
    plan = mis_dataset.export(mis, "llava", tmp_path / "llava", subsets=["hard"], dialect="llava")
    assert plan.rows == len(mis_dataset.load(mis, "hard", "test"))
    report = import_dataset("llava", tmp_path / "llava", tmp_path / "again")
    assert report.rows == plan.rows
    assert mis_dataset.validate(tmp_path / "again") == []


def test_a_push_says_what_it_does(mis: Path, monkeypatch: pytest.MonkeyPatch):
    heard: list[str] = []
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        planned = mis_dataset.push(mis, "lab/mis", token=WRITER, dry_run=True)
        assert planned.commit is None
        assert hub.writes == []
        done = mis_dataset.push(str(mis), "lab/mis", token=WRITER, tag="v1.0.0", on_event=heard.append)
        assert done.commit == hub.repositories["lab/mis"].head
        assert "tagged v1.0.0" in heard
        close_session()


def test_a_dataset_loads_from_the_hub_by_its_name(mis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = (
        "import mis_dataset\n"
        "print(mis_dataset.load('lab/mis', 'hard', 'test', revision='v1.0.0').num_rows)\n"
        "for name in ('lab/mine', 'a/b/c', 'nope'):\n"
        "    try:\n"
        "        mis_dataset.load(name)\n"
        "    except mis_dataset.MisError as error:\n"
        "        print(type(error).__name__, str(error).partition(':')[0])\n"
    )
    environment = {"HF_TOKEN": READER, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        mis_dataset.push(mis, "lab/mis", token=WRITER, tag="v1.0.0")
        close_session()
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(mis_dataset.__file__).parents[1],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
    rows, *errors = done.stdout.splitlines()
    assert int(rows) == len(mis_dataset.load(mis, "hard", "test"))
    why = "is neither a directory here nor a dataset on the Hub that can be read with this token"
    assert errors == [f"DatasetError {name} {why}" for name in ("lab/mine", "a/b/c", "nope")]


def test_a_token_opens_the_official_data(tmp_path: Path):
    code = f"import mis_dataset\nprint(len(mis_dataset.load(config='paper', split='test', token='{READER}')))\n"
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_TOKEN_PATH")}
    with Hub() as hub:
        for name in ("train", "test"):
            files = OfficialFiles(tmp_path / name).write(train=name == "train", test=name == "test").root
            repository = hub.repositories[f"Tuwhy/MIS_{name.title()}"] = Repository(private=True)
            repository.commit({path: Blob(data) for path, data in contents(files).items()})
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={
                **environment,
                "PYTHONPATH": str(Path(mis_dataset.__file__).parents[1]),
                "HF_ENDPOINT": hub.url,
                "HF_HOME": str(tmp_path / "hf"),
                "HF_HUB_DISABLE_XET": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout == "9\n", done.stderr
