"""Shards and images in an S3 bucket, on a real S3 server of this machine: same bytes, same healing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import botocore.exceptions
import botocore.session
import pytest
import s3fs
from chat_server import ChatServer
from moto.server import ThreadedMotoServer
from recipes import contents, lasting, tiny
from served_teacher import served, teacher_says

from mis_dataset.errors import BackendError, StorageError
from mis_dataset.pipeline import build
from mis_dataset.run.state import BuildState, stage_folder, stage_status
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


def test_status_finds_what_others_have_written_since(tmp_path: Path, bucket: str):
    build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", to="render", storage=bucket)
    state = BuildState.load(tmp_path / "work", tmp_path / "mis")
    folder = stage_folder(located(bucket), "render", state.rounds[0]["render"])

    def rendered() -> int:
        return stage_status(tmp_path / "work", state)[1].done

    assert rendered() == 1
    # By another client: fsspec knows of what this process writes by way of it.
    name, _, key = str(folder).removeprefix("s3://").partition("/")
    client = botocore.session.get_session().create_client("s3")
    source = {"Bucket": name, "Key": f"{key}/shard-00000.parquet"}
    client.copy_object(Bucket=name, Key=f"{key}/shard-00001.parquet", CopySource=source)
    assert rendered() == 2


@pytest.fixture
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither in the environment, nor in files, nor from the machine's own service."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # fsspec keeps its clients, with the credentials that they began with.
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


def test_status_without_credentials_is_said(tmp_path: Path, no_credentials: None):
    prints = dict.fromkeys(("compose", "render", "teach", "screen"), "0123456789abcdef")
    state = BuildState("tiny", str(tmp_path / "mis"), "f", [prints], "s3://nobodys/mis")
    with pytest.raises(StorageError, match=r"s3://nobodys/mis cannot be used: .*your credentials"):
        stage_status(tmp_path, state)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("gcsfs.retry", "HttpError"),
        ("google.auth.exceptions", "GoogleAuthError"),
        ("azure.core.exceptions", "AzureError"),
    ],
)
def test_other_stores_that_do_not_answer_are_said(monkeypatch: pytest.MonkeyPatch, module: str, name: str):
    # Their libraries are not installed here; these are the roots of what they raise.
    library = ModuleType(module)
    error = type(name, (Exception,), {})
    setattr(library, name, error)
    monkeypatch.setitem(sys.modules, module, library)
    with pytest.raises(StorageError, match="gs://shards cannot be used: no answer"), reaching("gs://shards"):
        raise error("no answer")


def test_a_bucket_that_is_not_there_is_said(tmp_path: Path, bucket: str):
    with pytest.raises(StorageError, match="elsewhere"):
        build(tiny(tmp_path), tmp_path / "mis", tmp_path / "work", storage="s3://elsewhere/mis")


def test_a_store_that_does_not_answer_is_said(tmp_path: Path):
    with pytest.raises(StorageError, match="finished work is kept"), reaching("s3://shards"):
        raise botocore.exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def test_an_unknown_kind_of_url_is_said():
    with pytest.raises(BackendError, match="nothing://here cannot be reached"):
        located("nothing://here")
