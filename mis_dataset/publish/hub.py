"""The Hub's side: log in, look at a repository, and say in plain words what went wrong there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import httpx2
from huggingface_hub import HfApi, HfFileSystem, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, OIDCError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]  # documented, but not in __all__

from mis_dataset import __version__
from mis_dataset.assemble.layout import CARD
from mis_dataset.errors import DatasetError, PublishAuthError, PublishError

FIRST_ANSWER_S = 30.0
"""How long to wait until the Hub first answers, in seconds."""

Gating = Literal["auto", "manual", False]
"""How readers get past the gate: by agreeing to the terms, by being let in one by one; or there is none."""

_AGAIN = "nothing is lost: run the same command again"
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token with write access"
_REMEDIES = {
    401: f"the token is not accepted; {_LOGIN}",
    403: "the token has no write access there; use one that has",
    404: "it does not exist, or the token may not see it; check the name",
    409: f"something else happened there meanwhile and was not overwritten; {_AGAIN}",
    412: f"somebody else changed it meanwhile, and that was not overwritten; {_AGAIN}",
    413: f"the upload is too large for it; make room there; {_AGAIN}",
    429: f"too many requests; wait a few minutes; {_AGAIN}",
}


@dataclass(frozen=True)
class Repository:
    """A dataset repository as it is before a push."""

    head: str
    """The last commit of ``main``."""
    private: bool
    gating: Gating
    files: Mapping[str, str]
    """Each file's SHA-256 if LFS keeps it, its git blob id otherwise."""
    tags: Mapping[str, str]
    """The commit to which each tag points."""


def connect(token: str | None = None) -> HfApi:
    """A client with ``token``, or with the one that `huggingface_hub` finds; sends nothing yet.

    Raises:
        PublishAuthError: there is no token, or it cannot be one.
    """
    try:
        token = token or get_token()
    except OIDCError as error:
        raise PublishAuthError(f"no token from OIDC: {error}") from error
    if token is None:
        raise PublishAuthError(f"no token for the Hub: {_LOGIN}")
    if not re.fullmatch(r"[!-~]+", token):
        # As a header it would fail too, with an error that quotes it.
        raise PublishAuthError(f"the token has blanks or letters that no token has: {_LOGIN}")
    # `huggingface_hub` itself reads HF_ENDPOINT only once, when it is imported.
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    return HfApi(endpoint=endpoint, token=token, library_name="mis-dataset", library_version=__version__)


def look(api: HfApi, repo_id: str) -> Repository | None:
    """What the Hub holds under this name, None if nothing; only reads.

    Raises:
        PublishAuthError: the token cannot write there.
    """
    try:
        info = api.dataset_info(repo_id, timeout=FIRST_ANSWER_S)
    except RepositoryNotFoundError as error:
        if api.whoami().get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise PublishAuthError(f"the token can only read: it cannot create {repo_id}; {_LOGIN}") from error
        return None
    api.auth_check(repo_id, repo_type="dataset", write=True)
    head = str(info.sha)
    tree = api.list_repo_tree(repo_id, repo_type="dataset", revision=head, recursive=True)
    files = [entry for entry in tree if isinstance(entry, RepoFile)]
    tags = api.list_repo_refs(repo_id, repo_type="dataset").tags
    return Repository(
        head=head,
        private=bool(info.private),
        gating=info.gated or False,
        files={file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files},
        tags={tag.name: tag.target_commit for tag in tags},
    )


def check_card(api: HfApi, card: str) -> None:
    """Have the Hub look at a card, as it will before it takes one; changes nothing there.

    Raises:
        DatasetError: it would refuse the card.
    """
    answer = get_session().post(
        f"{api.endpoint}/api/validate-yaml",
        json={"content": card, "repoType": "dataset"},
        headers=build_hf_headers(token=api.token),
        timeout=FIRST_ANSWER_S,
    )
    if answer.status_code == 400 and (errors := answer.json().get("errors")):
        remedy = "change [card] in the recipe and build again, or import again with another --license"
        raise DatasetError(f"the Hub refuses the card; {remedy}:", [f"{CARD}: {one['message']}" for one in errors])
    hf_raise_for_status(answer)


def read_text(api: HfApi, repo_id: str, commit: str, path: str) -> str:
    """A text of a commit; a letter that is none is replaced."""
    files = HfFileSystem(endpoint=api.endpoint, token=api.token, skip_instance_cache=True)
    data: bytes = files.cat_file(f"datasets/{repo_id}@{commit}/{path}")
    return data.decode(errors="replace")


def last_change(api: HfApi, repo_id: str, commit: str, path: str) -> str:
    """The last commit, up to this one, in which a file changed."""
    (entry,) = api.get_paths_info(repo_id, path, repo_type="dataset", revision=commit, expand=True)
    return entry.last_commit.oid if entry.last_commit else commit


@contextmanager
def explained(api: HfApi, repo_id: str) -> Iterator[None]:
    """Translate what `huggingface_hub` raises in the block.

    Raises:
        PublishAuthError: the Hub refused the token (401, 403).
        PublishError: anything else that the Hub or the way there may do.
    """
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, RuntimeError, ValueError) as error:
        # What goes wrong with a single file arrives wrapped in a RuntimeError.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        raise _translated(cause, repo_id, api.endpoint) from error


def _translated(error: BaseException, repo_id: str, endpoint: str) -> PublishError:
    if isinstance(error, OfflineModeIsEnabled):
        return PublishError("HF_HUB_OFFLINE is set, so nothing can be published; unset it, run the same command again")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = " ".join((error.server_message or error.response.reason_phrase).split())
        remedy = _REMEDIES.get(status, f"the Hub has trouble; {_AGAIN}" if status >= 500 else _AGAIN)
        kind = PublishAuthError if status in (401, 403) else PublishError
        return kind(f"{endpoint} refused the push to {repo_id}: {remedy} (HTTP {status}: {said})")
    if isinstance(error, (httpx2.TransportError, ConnectionError, TimeoutError)):
        return PublishError(f"cannot reach {endpoint}: {error}; check the network and HF_ENDPOINT; {_AGAIN}")
    return PublishError(f"the push to {repo_id} on {endpoint} failed: {error}; {_AGAIN}")
