"""Pushing real datasets with the real client to a real server: `hub.Hub`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hub import READER, WRITER, Blob, Hub, Repository
from huggingface_hub.utils import close_session
from samples import sample_dataset, sample_facts, sample_rows

from mis_dataset.assemble import assemble
from mis_dataset.assemble.layout import CHANGELOG
from mis_dataset.assemble.manifest import read_manifest
from mis_dataset.errors import DatasetError, PublishAuthError, PublishError, UsageError
from mis_dataset.publish import plan_push, push
from mis_dataset.recipe import CardSpec

# `huggingface_hub` uploads in a way that its own HTTP library discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")

REPO = "lab/mis"
EASY = "data/test-easy-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two versions of a dataset; the second has no `easy` rows."""
    folder = tmp_path_factory.mktemp("versions")
    return sample_dataset(folder / "first", families=6), sample_dataset(folder / "second", families=4)


@pytest.fixture
def first(datasets: tuple[Path, Path]) -> Path:
    return datasets[0]


@pytest.fixture
def second(datasets: tuple[Path, Path]) -> Path:
    return datasets[1]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub, and an environment in which its writer is logged in, and nobody else."""
    for name in ("HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "login"))
    monkeypatch.setenv("HF_TOKEN", WRITER)
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub
        close_session()


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def remote(hub: Hub) -> dict[str, bytes]:
    """What the Hub holds, less what no directory has."""
    files = hub.repositories[REPO].files
    return {path: blob.data for path, blob in files.items() if path not in (".gitattributes", CHANGELOG)}


def refuse(request: str, status: int) -> Callable[[str], int | None]:
    """Have the Hub refuse the requests that begin so."""
    return lambda arrived: status if arrived.startswith(request) else None


def existing(hub: Hub, *, private: bool = True, gated: str | bool = "manual", **files: bytes) -> Repository:
    """Put a repository on the Hub, as if somebody had made it there."""
    hub.repositories[REPO] = Repository(private, gated)
    hub.repositories[REPO].commit({".gitattributes": Blob(b""), **{path: Blob(data) for path, data in files.items()}})
    return hub.repositories[REPO]


# What a push does


def test_data_and_card_arrive_in_one_commit(hub: Hub, first: Path):
    result = push(first, REPO)
    assert remote(hub) == contents(first)
    # The first commit is the Hub's own.
    assert list(hub.repositories[REPO].commits)[1:] == [result.commit]
    assert ".gitattributes" in hub.repositories[REPO].files


def test_a_new_repository_is_private_and_gated_before_any_data_is_sent(hub: Hub, first: Path):
    states = []

    def watch(request: str) -> None:
        if "preupload" in request or "/lfs" in request or "commit" in request:
            states.append((hub.repositories[REPO].private, hub.repositories[REPO].gated))

    hub.before = watch
    push(first, REPO)
    assert set(states) == {(True, "manual")}
    assert (hub.repositories[REPO].private, hub.repositories[REPO].gated) == (True, "manual")


def test_it_becomes_public_once_it_is_whole(hub: Hub, first: Path):
    push(first, REPO, public=True)
    assert not hub.repositories[REPO].private
    assert hub.writes[-2:] == ["POST /api/datasets/lab/mis/commit/main", "PUT /api/datasets/lab/mis/settings"]


def test_without_gate(hub: Hub, first: Path):
    push(first, REPO, gate=False)
    assert hub.repositories[REPO].gated is False
    # The card's fields for a gate stay, and do nothing.
    assert b"extra_gated_prompt" in remote(hub)["README.md"]


def test_a_second_push_writes_nothing(hub: Hub, first: Path):
    before = push(first, REPO, tag="v1.0.0")
    hub.requests.clear()
    told: list[str] = []
    again = push(first, REPO, tag="v1.0.0", on_event=told.append)
    assert hub.writes == []
    assert told == [str(again.plan), f"{again.url} is up to date (commit {before.commit[:8]})"]
    assert again.commit == before.commit
    assert set(again.plan.unchanged) == set(contents(first))


def test_a_second_push_sees_to_visibility_gate_and_tag(hub: Hub, first: Path):
    commit = push(first, REPO, gate=False).commit
    hub.requests.clear()
    push(first, REPO, public=True, tag="v1.0.0")
    repository = hub.repositories[REPO]
    assert (repository.private, repository.gated, repository.tags) == (False, "manual", {"v1.0.0": commit})
    assert not any("preupload" in request or "commit" in request for request in hub.writes)


def test_a_new_version_replaces_the_earlier_one_in_one_commit(hub: Hub, first: Path, second: Path):
    push(first, REPO)
    uploaded = hub.uploaded_bytes
    result = push(second, REPO)
    assert result.plan.delete == (EASY,)
    assert remote(hub) == contents(second)
    assert len(hub.repositories[REPO].commits) == 3
    # Only what differs is sent.
    assert hub.uploaded_bytes - uploaded == result.plan.upload_bytes < sum(map(len, contents(second).values()))


def test_strays_among_the_data_go_and_a_licence_stays(hub: Hub, first: Path):
    push(first, REPO)
    repository = hub.repositories[REPO]
    repository.commit({**repository.files, "data/train-old.parquet": Blob(b"PAR1"), "LICENSE": Blob(b"Be kind.")})
    push(first, REPO)
    assert remote(hub) == contents(first) | {"LICENSE": b"Be kind."}


def test_a_tag_names_the_commit(hub: Hub, first: Path, second: Path):
    commits = [push(first, REPO, tag="v1.0.0").commit, push(second, REPO, tag="v1.1.0").commit]
    assert hub.repositories[REPO].tags == dict(zip(["v1.0.0", "v1.1.0"], commits, strict=True))


def test_a_gate_that_is_there_is_kept(hub: Hub, first: Path):
    existing(hub, gated="auto")
    assert push(first, REPO).plan.gating == "auto"
    assert hub.repositories[REPO].gated == "auto"


def test_events_tell_what_is_planned_and_done(hub: Hub, first: Path):
    told: list[str] = []
    push(first, REPO, tag="v1.0.0", on_event=told.append)
    plan, created, gated, uploaded, tagged, done = told
    assert EASY in plan
    assert "created" in created
    assert "gate" in gated
    assert "11 files" in uploaded
    assert "v1.0.0" in tagged
    assert f"{hub.url}/datasets/{REPO}" in done


# Changelogs


def changelog(hub: Hub) -> str:
    return hub.repositories[REPO].files[CHANGELOG].data.decode()


def test_the_changelog_tells_what_changed_the_latest_version_first(hub: Hub, first: Path, second: Path):
    push(first, REPO, tag="v1.0.0")
    ids = [read_manifest(dataset)["fingerprint"][:12] for dataset in (first, second)]
    assert f"## v1.0.0, `{ids[0]}`\n\n11 rows; nothing to compare with.\n" in changelog(hub)
    push(second, REPO)
    title, latest, earlier = changelog(hub).split("\n## ")
    assert title.startswith("# Changelog\n")
    assert latest.startswith(f"`{ids[1]}`\n\nSince `{ids[0]}`: 0 rows added, 4 removed, 0 changed, 7 the same")
    assert "| easy | Weapon-Related Violence | 2 | 0 |" in latest
    assert earlier.startswith("v1.0.0")


def test_a_version_that_is_there_already_gets_no_second_entry(hub: Hub, first: Path):
    push(first, REPO)
    before = changelog(hub)
    repository = hub.repositories[REPO]
    # Somebody spoilt the manifest by hand; it is put right, and there is nothing to tell.
    spoilt = Blob(repository.files["manifest.json"].data + b" ")
    repository.commit({**repository.files, "manifest.json": spoilt})
    push(first, REPO)
    assert remote(hub) == contents(first)
    assert changelog(hub) == before


@pytest.mark.parametrize("manifest", [b"{}", b"no JSON"])
def test_a_version_that_cannot_be_read_is_replaced_and_not_compared(hub: Hub, first: Path, manifest: bytes):
    existing(hub, **{"manifest.json": manifest})
    result = push(first, REPO)
    assert result.plan.changes is None
    assert "nothing to compare with" in changelog(hub)


def spoil(hub: Hub, files: dict[str, bytes]) -> None:
    """Change files on the Hub by hand."""
    repository = hub.repositories[REPO]
    repository.commit({**repository.files, **{path: Blob(data) for path, data in files.items()}})


@pytest.mark.parametrize("damage", [{"manifest.json": b"{}"}, {"recipe.toml": b"seed ="}, {"recipe.toml": b"\xe9"}])
def test_the_history_outlives_a_version_that_cannot_be_read(
    hub: Hub, first: Path, second: Path, damage: dict[str, bytes]
):
    push(first, REPO, tag="v1.0.0")
    spoil(hub, {"manifest.json": hub.repositories[REPO].files["manifest.json"].data + b"\n", **damage})
    assert push(second, REPO, tag="v1.1.0").plan.changes is None
    title, latest, earlier = changelog(hub).split("\n## ")
    assert title.startswith("# Changelog\n")
    assert latest.startswith("v1.1.0")
    assert "nothing to compare with" in latest
    assert earlier.startswith("v1.0.0")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_version_of_a_later_format_is_not_replaced(hub: Hub, first: Path, second: Path, dry_run: bool):
    push(first, REPO)
    manifest = json.loads(hub.repositories[REPO].files["manifest.json"].data)
    spoil(hub, {"manifest.json": json.dumps({**manifest, "format": 2, "new": []}).encode()})
    hub.requests.clear()
    with pytest.raises(DatasetError, match=r"lab/mis@\w+ was written by a later version(.|\n)*pip install --upgrade"):
        push(second, REPO, dry_run=dry_run)
    assert hub.writes == []


def test_a_dry_run_tells_what_would_change(hub: Hub, first: Path, second: Path):
    push(first, REPO)
    plan = push(second, REPO, dry_run=True).plan
    assert "\n  0 rows added, 4 removed, 0 changed, 7 the same" in str(plan)
    assert f"\n  add to {CHANGELOG}\n" in str(plan)


# More files than the Hub likes in one commit


@pytest.fixture
def few_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mis_dataset.publish.plan.FILES_A_COMMIT", 2)


@pytest.mark.usefixtures("few_a_commit")
def test_rows_come_first_and_what_tells_of_them_last(hub: Hub, first: Path, second: Path):
    batches = [len(push(dataset, REPO).plan.batches) for dataset in (first, second)]
    assert min(batches) > 1
    assert remote(hub) == contents(second)
    # The first commit is the Hub's own.
    commits = list(hub.repositories[REPO].commits.values())[1:]
    assert len(commits) == sum(batches)
    # Until the last commit of a push, its manifest is not there, and nothing is deleted.
    manifests = [commit["manifest.json"].data if "manifest.json" in commit else b"" for commit in commits]
    before, after = (contents(dataset)["manifest.json"] for dataset in (first, second))
    assert manifests == [b""] * (batches[0] - 1) + [before] * batches[1] + [after]
    assert all(EASY in commit for commit in commits[batches[0] : -1])


@pytest.mark.usefixtures("few_a_commit")
def test_a_plan_says_how_many_commits_it_takes_and_what_is_seen_meanwhile(hub: Hub, first: Path):
    plan = plan_push(first, REPO)
    assert f"{len(plan.batches)} commits; until the last one, main has files of both versions" in str(plan)


@pytest.mark.usefixtures("few_a_commit")
def test_a_first_push_that_broke_off_between_commits_is_finished_by_the_next(hub: Hub, first: Path):
    commits: list[str] = []

    def breaks_off(request: str) -> int | None:
        commits.extend([request] * request.startswith("POST /api/datasets/lab/mis/commit"))
        return 500 if len(commits) == 2 else None

    hub.before = breaks_off
    with pytest.raises(PublishError, match="run the same command again"):
        push(first, REPO)
    assert "manifest.json" not in remote(hub)
    hub.before = lambda request: None
    push(first, REPO)
    assert remote(hub) == contents(first)


# Its first commit has new rows beside the old manifest, which would be taken for those of the version before.
@pytest.mark.usefixtures("few_a_commit")
def test_after_a_push_that_broke_off_between_commits_the_next_still_tells_all_that_changed(
    hub: Hub, first: Path, tmp_path: Path
):
    rows = sample_rows(tmp_path / "images", 6)
    other = [replace(row, label=replace(row.label, answer="I would rather not.")) for row in rows]
    facts = replace(sample_facts(other), fingerprint="f" * 64)
    assemble(other, facts, tmp_path / "images", tmp_path / "mis")
    push(first, REPO)
    commits: list[str] = []

    def breaks_off(request: str) -> int | None:
        commits.extend([request] * request.startswith("POST /api/datasets/lab/mis/commit"))
        return 500 if len(commits) == 2 else None

    hub.before = breaks_off
    with pytest.raises(PublishError):
        push(tmp_path / "mis", REPO)
    hub.before = lambda request: None
    assert plan_push(tmp_path / "mis", REPO).upload.keys() < contents(tmp_path / "mis").keys()
    push(tmp_path / "mis", REPO)
    assert f"{len(rows)} changed (response {len(rows)}, answer {len(rows)}), 0 the same" in changelog(hub)


# Dry runs


def test_a_dry_run_writes_nothing_and_tells_the_plan(hub: Hub, first: Path, second: Path):
    told: list[str] = []
    new = push(first, REPO, tag="v1.0.0", dry_run=True, on_event=told.append)
    assert hub.writes == []
    assert hub.repositories == {}
    assert (new.commit, new.plan.creates, new.plan.private, new.plan.new_tag) == (None, True, True, "v1.0.0")
    assert told == [str(new.plan)]
    assert told[0].endswith("  put up the gate\n  tag it v1.0.0")

    push(first, REPO)
    hub.requests.clear()
    planned = push(second, REPO, dry_run=True).plan
    assert hub.writes == []
    assert planned == plan_push(second, REPO) == push(second, REPO).plan


# What it refuses


def test_an_invalid_dataset_is_refused_before_the_hub_is_asked(hub: Hub, first: Path, tmp_path: Path):
    broken = shutil.copytree(first, tmp_path / "mis")
    (broken / "recipe.toml").write_text("seed = 8\n")
    with pytest.raises(DatasetError, match=r"recipe\.toml"):
        push(broken, REPO)
    assert hub.requests == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_card_that_the_hub_refuses_shows_before_anything_is_made(hub: Hub, tmp_path: Path, dry_run: bool):
    rows = sample_rows(tmp_path / "images", 4)
    # Of the form of a language's code, and the code of none.
    facts = replace(sample_facts(rows), recipe_text='[card]\nlanguages = ["qz"]\n', card=CardSpec(languages=("qz",)))
    assemble(rows, facts, tmp_path / "images", tmp_path / "mis")
    with pytest.raises(DatasetError, match=r"the Hub refuses the card; change \[card\](.|\n)*README\.md: .*'qz'"):
        push(tmp_path / "mis", REPO, dry_run=dry_run)
    assert hub.writes == []
    assert hub.repositories == {}


@pytest.mark.parametrize("name", ["mis", "a/b/c", "lab/.mis", "lab/m--is", "https://hub/lab/mis", "", "lab/mïs"])
def test_a_bad_name(hub: Hub, first: Path, name: str):
    with pytest.raises(UsageError, match=r"ORG/NAME|name"):
        push(first, name)
    assert hub.requests == []


@pytest.mark.parametrize("tag", ["1.0.0", "v1.0", "v1.0.0-rc1", "main", "v1.0.0\n", "v१.0.0", ""])
def test_a_bad_tag(hub: Hub, first: Path, tag: str):
    with pytest.raises(UsageError, match=r"v1\.2\.3"):
        push(first, REPO, tag=tag)
    assert hub.requests == []


def test_a_public_repository_is_refused_unless_public_is_said(hub: Hub, first: Path):
    existing(hub, private=False)
    with pytest.raises(PublishError, match="--public"):
        push(first, REPO)
    assert hub.writes == []
    push(first, REPO, public=True)
    assert remote(hub) == contents(first)


def test_a_repository_that_holds_something_else_is_refused(hub: Hub, first: Path):
    existing(hub, **{"model.bin": b"weights"})
    with pytest.raises(PublishError, match=r"model\.bin"):
        push(first, REPO)
    assert hub.writes == []


def test_a_tag_is_never_moved(hub: Hub, first: Path, second: Path):
    push(first, REPO, tag="v1.0.0")
    hub.requests.clear()
    with pytest.raises(PublishError, match=r"v1\.0\.0"):
        push(second, REPO, tag="v1.0.0")
    assert hub.writes == []

    push(second, REPO)
    with pytest.raises(PublishError, match=r"v1\.0\.0"):
        push(second, REPO, tag="v1.0.0")


# Tokens


def test_no_token(hub: Hub, first: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PublishAuthError, match="hf auth login"):
        push(first, REPO)
    assert hub.requests == []


def test_the_token_of_a_login_is_used(hub: Hub, first: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "login").write_text(WRITER)
    push(first, REPO)
    assert remote(hub) == contents(first)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_token_without_write_access_shows_before_anything_is_sent(hub: Hub, first: Path, is_new: bool):
    if not is_new:
        existing(hub)
    with pytest.raises(PublishAuthError, match=REPO):
        push(first, REPO, token=READER, dry_run=True)
    assert hub.writes == []


def test_an_unknown_token(hub: Hub, first: Path):
    with pytest.raises(PublishAuthError, match="not accepted"):
        push(first, REPO, token="hf_nobody")


@pytest.mark.parametrize("token", [WRITER, f"{WRITER} x", f"{WRITER}\nx", f"{WRITER}é"])
def test_an_error_does_not_show_the_token(hub: Hub, first: Path, token: str):
    hub.before = refuse("POST /api/repos/create", 403)
    with pytest.raises(PublishAuthError) as caught:
        push(first, REPO, token=token)
    assert WRITER not in "".join(traceback.format_exception(caught.value))


def test_the_token_is_written_nowhere(hub: Hub, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    dataset = shutil.copytree(first, tmp_path / "mis")
    push(dataset, REPO, tag="v1.0.0")
    assert contents(dataset) == contents(first)
    assert [path for path, data in contents(tmp_path).items() if WRITER.encode() in data] == []
    assert [path for path, data in remote(hub).items() if WRITER.encode() in data] == []


# What can go wrong


def test_somebody_elses_commit_is_not_overwritten(hub: Hub, first: Path, second: Path):
    push(first, REPO)
    repository = hub.repositories[REPO]

    def interfere(request: str) -> None:
        if "preupload" in request:
            repository.commit({**repository.files, "README.md": Blob(b"mine")})

    hub.before = interfere
    with pytest.raises(PublishError, match="somebody else"):
        push(second, REPO)
    assert repository.files["README.md"].data == b"mine"


def test_a_push_that_broke_off_is_finished_by_the_next(hub: Hub, first: Path):
    hub.before = refuse("POST /api/datasets/lab/mis/commit", 500)
    with pytest.raises(PublishError, match="run the same command again"):
        push(first, REPO, public=True)
    assert hub.repositories[REPO].private
    hub.before = lambda request: None
    hub.requests.clear()
    push(first, REPO, public=True)
    assert remote(hub) == contents(first)
    # The large files were uploaded before.
    assert not any(request.startswith("PUT /lfs") for request in hub.requests)


def test_a_tag_that_failed_is_set_by_the_next_push(hub: Hub, first: Path):
    hub.before = refuse("POST /api/datasets/lab/mis/tag", 503)
    with pytest.raises(PublishError):
        push(first, REPO, tag="v1.0.0")
    hub.before = lambda request: None
    commit = push(first, REPO, tag="v1.0.0").commit
    assert hub.repositories[REPO].tags == {"v1.0.0": commit}
    assert len(hub.repositories[REPO].commits) == 2


@pytest.mark.parametrize(
    ("refused", "status", "words"),
    [
        ("GET /api/datasets", 401, "hf auth login"),
        ("POST /api/repos/create", 403, "no write access"),
        ("POST /api/repos/create", 404, "check the name"),
        ("POST /api/repos/create", 409, "meanwhile"),
        ("PUT /lfs", 413, "too large"),
        ("POST /api/datasets/lab/mis/commit", 429, "wait a few minutes"),
        ("POST /api/datasets/lab/mis/commit", 400, "as the test wants it"),
        ("GET /api/datasets", 502, "the Hub has trouble; nothing is lost"),
    ],
)
def test_a_refusal_is_explained(hub: Hub, first: Path, refused: str, status: int, words: str):
    hub.before = refuse(refused, status)
    with pytest.raises(PublishError, match=words) as caught:
        push(first, REPO)
    assert isinstance(caught.value, PublishAuthError) == (status in (401, 403))
    assert REPO in str(caught.value)
    assert f"HTTP {status}" in str(caught.value)


def test_nobody_listens(hub: Hub, first: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", url)
        with pytest.raises(PublishError, match=f"cannot reach {url}"):
            push(first, REPO)


def test_the_hub_does_not_answer(hub: Hub, first: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mis_dataset.publish.hub.FIRST_ANSWER_S", 0.1)
    hub.before = lambda request: time.sleep(0.3)
    with pytest.raises(PublishError, match=r"cannot reach .*timed out"):
        push(first, REPO)


def test_offline_mode_is_named(hub: Hub, first: Path):
    # `huggingface_hub` reads the variable once, so this needs a process of its own.
    command = [sys.executable, "-c", "from mis_dataset.cli import main; main()", "push", str(first), REPO]
    done = subprocess.run(
        command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: HF_HUB_OFFLINE is set")
    assert hub.requests == []
