"""Seeds from the Hub, read over HTTP in a process of its own."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub import Blob, Hub, Repository

READ = """
import json, sys
from mis_dataset.compose._seeds import SeedSettings
from mis_dataset.errors import UsageError

settings = SeedSettings(seeds="lab/harm", seeds_revision=sys.argv[1], text_column="goal", image_column=sys.argv[2])
try:
    table = settings.read()
    seed = table.read(1)
    print(json.dumps([len(table), seed.name, seed.text, seed.licence, settings.digest]))
except UsageError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def hub():
    buffer = io.BytesIO()
    pq.write_table(pa.table({"goal": ["a", "b"], "picture": ["", "/etc/hosts"]}), buffer)
    card = b"---\nconfigs:\n- config_name: default\n  data_files: train.parquet\n---\n"
    with Hub() as hub:
        hub.repositories["lab/harm"] = Repository(private=False)
        hub.repositories["lab/harm"].commit(
            {"README.md": Blob(card), "train.parquet": Blob(buffer.getvalue(), lfs=True)}
        )
        yield hub


def read(hub: Hub, home: Path, revision: str, image_column: str = "") -> object:
    environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_TOKEN": ""}
    command = [sys.executable, "-c", READ, revision, image_column]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_commit_of_a_dataset_is_read(hub, tmp_path):
    commit = hub.repositories["lab/harm"].head
    assert read(hub, tmp_path, commit) == [2, "lab/harm#1", "b", "", commit]


def test_a_dataset_from_elsewhere_names_no_files_of_this_machine(hub, tmp_path):
    said = read(hub, tmp_path, hub.repositories["lab/harm"].head, "picture")
    assert "row 1: 'picture' names '/etc/hosts' instead of holding the image; download it first" in said


def test_an_unknown_commit_says_what_to_check(hub, tmp_path):
    said = read(hub, tmp_path, "f" * 40)
    assert said.startswith("lab/harm cannot be loaded as seeds (")
    assert "check seeds, seeds_config, seeds_split and seeds_revision" in said
