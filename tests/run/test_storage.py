"""Shards and images in an S3 bucket, on a real S3 server of this machine: same bytes, same healing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import botocore.exceptions
import pytest
from chat_server import ChatServer
from moto.server import ThreadedMotoServer
from recipes import contents, lasting, tiny
from served_teacher import served, teacher_says

from mis_dataset.errors import BackendError, StorageError
from mis_dataset.pipeline import build
from mis_dataset.run.state import BuildState, stage_status
from mis_dataset.storage import located, reaching

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (settings | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
            patch.setenv(name, value)
        located("s3://shards").mkdir()
        yield
        server.stop()


@pytest.fixture
def bucket(s3: None, tmp_path: Path) -> str:
    return f"s3://shards/{tmp_path.name}"


def test_a_bucket_changes_no_byte(tmp_path: Path, bucket: str):
    build(tiny(tmp_path), tmp_path / "local", tmp_path / "local_work")
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", storage=bucket)
    assert contents(tmp_path / "mis") == contents(tmp_path / "local")
    # Nothing but the driver's own lies in the work folder.
    assert not list((tmp_path / "work").rglob("*.parquet"))
    assert not list((tmp_path / "work").rglob("*.png"))


def test_a_build_in_a_bucket_goes_on_where_it_was_and_heals(tmp_path: Path, bucket: str):
    with ChatServer(teacher_says) as server:
        recipe = tiny(tmp_path, served(server))
        build(recipe, tmp_path / "mis", tmp_path / "work", to="teach", storage=bucket)
        asked = len(server.calls)
        images = list(located(bucket).glob("images/*/*.png"))
        for image in images:
            image.write_bytes(b"damaged")
        build(recipe, tmp_path / "mis", tmp_path / "work", storage=bucket)
        assert len(server.calls) == asked
        build(recipe, tmp_path / "local", tmp_path / "local_work")
    assert len(images) > 5
    assert lasting(tmp_path / "mis") == lasting(tmp_path / "local")


def test_status_finds_the_shards(tmp_path: Path, bucket: str):
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", to="render", storage=bucket)
    state = BuildState.load(tmp_path / "work", tmp_path / "mis")
    found = {stage.name: stage.done for stage in stage_status(tmp_path / "work", state)}
    assert found == {"compose": 1, "render": 1, "teach": 0, "screen": 0}


def test_a_bucket_that_is_not_there_is_said(tmp_path: Path, bucket: str):
    with pytest.raises(StorageError, match="elsewhere"):
        build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", storage="s3://elsewhere/mis")


def test_a_store_that_does_not_answer_is_said(tmp_path: Path):
    with pytest.raises(StorageError, match="finished work is kept"), reaching("s3://shards"):
        raise botocore.exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def test_an_unknown_kind_of_url_is_said():
    with pytest.raises(BackendError, match="nothing://here cannot be reached"):
        located("nothing://here")
