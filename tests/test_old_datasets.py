"""A built dataset loads as ``load_dataset("mis")`` from the folder above it, without this package, in any `datasets`.

Each version gets a virtual environment of its own below ``build/environments``; making one takes a quarter of a minute,
and is done once.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from PIL import Image
from samples import sample_dataset

from mis_dataset.assemble.layout import present_configs
from mis_dataset.schema import arrow_schema

ENVIRONMENTS = Path(__file__).parents[1] / "build" / "environments"

# Libraries of about the same age, as far as they exist for this Python.
REQUIREMENTS = {
    "2.19.0": ["huggingface_hub<1", "pyarrow<17; python_version < '3.13'", "numpy<2; python_version < '3.13'"],
    "3.6.0": ["huggingface_hub<1", "pyarrow<21"],
    version("datasets"): [],
}

_DUMP = """
import hashlib, json, sys
from datasets import get_dataset_config_names, load_dataset

def pixels(image):
    return [*image.size, hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()]

def plain(row):
    drawn = hasattr(row["images"][0], "convert")
    return {**row, "images": list(map(pixels, row["images"]))} if drawn else row

dump = {
    config: {split: [plain(row) for row in rows] for split, rows in load_dataset("mis", config).items()}
    for config in get_dataset_config_names("mis")
}
dump["default config"] = list(load_dataset("mis", split="train")["id"])
assert "mis_dataset" not in sys.modules
json.dump(dump, open("dump.json", "w"))
"""


def environment(datasets_version):
    """The Python of an environment with this version, made if need be."""
    requirements = [f"datasets=={datasets_version}", "pillow", *REQUIREMENTS[datasets_version]]
    digest = hashlib.sha256(json.dumps([sys.version, requirements]).encode()).hexdigest()[:8]
    folder = ENVIRONMENTS / f"datasets-{datasets_version}-{digest}"
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            venv.create(partial, with_pip=True)
            subprocess.run([partial / "bin" / "python", "-m", "pip", "install", "-q", *requirements], check=True)
            partial.rename(folder)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    sample_dataset(folder, 12)
    return folder


@pytest.fixture(scope="module")
def written(built):
    """The rows as they lie in the files, by config and split, images as size and digest of their pixels."""
    directory = built / "mis"
    paths = [path.relative_to(directory).as_posix() for path in directory.rglob("*.parquet")]
    rows = {
        config: {split: _rows(sorted(directory.glob(pattern))) for split, pattern in splits.items()}
        for config, splits in present_configs(paths).items()
    }
    return {**rows, "default config": [row["id"] for row in rows["default"]["train"]]}


def _rows(paths):
    rows = pa.concat_tables(pq.read_table(path) for path in paths).to_pylist()
    for row in rows:
        if "bytes" in row["images"][0]:
            row["images"] = [_pixels(image["bytes"]) for image in row["images"]]
    return rows


def _pixels(data):
    with Image.open(io.BytesIO(data)) as image:
        return [*image.size, hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()]


@pytest.mark.parametrize("datasets_version", REQUIREMENTS)
def test_every_version_reads_the_same_rows(built, written, datasets_version, tmp_path):
    home = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]}
    # -I: neither PYTHONPATH nor the current folder can bring the package in.
    subprocess.run([environment(datasets_version), "-I", "-c", _DUMP], cwd=built, env=home, check=True)
    dump = json.loads((built / "dump.json").read_text())
    assert list(dump["default"]["train"][0]) == arrow_schema("row").names
    assert list(dump["provenance"]["train"][0]) == arrow_schema("provenance").names
    assert dump == written
