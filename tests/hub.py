"""A small Hugging Face Hub on 127.0.0.1, for datasets: what real clients need to push one and to read it back::

    with Hub() as hub:
        HfApi(endpoint=hub.url, token=WRITER).create_repo("lab/mis", repo_type="dataset", private=True)
        assert hub.requests == ["POST /api/repos/create"]

Everything is kept in memory. The token `WRITER` may do anything, `READER` may read anything; without a token, nobody
sees a private repository or reads a gated one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from card_rules import card_problems

WRITER = "hf_LocalTokenThatMayWrite"
READER = "hf_LocalTokenThatMayRead"
ROLES = {WRITER: "write", READER: "read"}
PAGE = 4
"""Entries a page of a tree; few, so that clients have to turn pages."""


@dataclass(frozen=True)
class Blob:
    """A file's content."""

    data: bytes
    lfs: bool = False

    @property
    def digest(self) -> str:
        """The SHA-256 of an LFS file, the git blob id of any other."""
        if self.lfs:
            return hashlib.sha256(self.data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()


@dataclass
class Repository:
    """One dataset repository; its last commit is the head of ``main``."""

    private: bool
    gated: str | bool = False
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, Blob]:
        """What the head of ``main`` holds."""
        return self.commits[self.head]

    def commit(self, files: dict[str, Blob]) -> str:
        """Add a commit with exactly these files."""
        names = sorted((path, blob.digest) for path, blob in files.items())
        oid = hashlib.sha1(repr((len(self.commits), names)).encode()).hexdigest()
        self.commits[oid] = files
        return oid

    def last_change(self, path: str, oid: str) -> str:
        """The last commit, up to one, in which a file changed."""
        last, before = "", None
        for name, files in self.commits.items():
            if files.get(path) != before:
                last, before = name, files.get(path)
            if name == oid:
                break
        return last

    def resolve(self, revision: str) -> str:
        """The commit that a branch, a tag or a commit's id names."""
        oid = self.head if revision == "main" else self.tags.get(revision, revision)
        if oid not in self.commits:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid


class RefusedError(Exception):
    """Becomes an answer with this status, and with the code by which clients tell kinds of 401 and 404 apart."""

    def __init__(self, status: int, message: str, code: str = "-", errors: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.errors = status, code, errors


@dataclass
class Call:
    """A request, and the headers of its answer."""

    path: str
    query: dict[str, list[str]]
    body: bytes
    role: str | None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


_ROUTES: list[tuple[str, Callable[..., Any]]] = []
_API = "/api/datasets/([^/]+/[^/]+)"


def _answers(request: str) -> Callable[[Any], Any]:
    """Mark what answers the requests that match a pattern; its groups become arguments."""

    def add(function: Any) -> Any:
        _ROUTES.append((request, function))
        return function

    return add


class Hub:
    """Serves while it is entered."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        """Method and path of every request, in the order of arrival."""
        self.uploaded_bytes = 0
        self.before: Callable[[str], int | None] = lambda request: None
        """Called with each request before it is answered; a status that it returns refuses the request."""
        self._lfs: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def writes(self) -> list[str]:
        """The requests that could have changed something."""
        changing = (request for request in self.requests if request.split()[0] not in ("GET", "HEAD"))
        return [request for request in changing if not re.search("/paths-info/|/validate-yaml$", request)]  # only ask

    def answer(self, request: str, call: Call, token: str) -> bytes:
        """Find what answers a request, and let it; one request at a time."""
        with self._lock:
            self.requests.append(request)
            if status := self.before(request):
                raise RefusedError(status, "as the test wants it")
            if token and token not in ROLES:
                raise RefusedError(401, "Invalid credentials in Authorization header")
            matches = ((re.fullmatch(pattern, request), function) for pattern, function in _ROUTES)
            for match, function in matches:
                if match:
                    answer = function(self, call, *match.groups())
                    return answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            raise RefusedError(404, f"this Hub has no {request}")

    def _find(self, call: Call, name: str, need: Literal["see", "read", "write"]) -> Repository:
        found = self.repositories.get(name)
        if found is None or (found.private and call.role is None):
            raise RefusedError(404 if call.role else 401, "Repository not found", "RepoNotFound")
        if need == "read" and found.gated and call.role is None:
            raise RefusedError(401, f"Access to dataset {name} is restricted", "GatedRepo")
        if need == "write":
            _check_writer(call)
        return found

    @_answers("GET /api/whoami-v2")
    def whoami(self, call: Call) -> Any:
        return {"type": "user", "name": "tester", "auth": {"accessToken": {"role": call.role}}}

    @_answers("POST /api/validate-yaml")
    def validate_yaml(self, call: Call) -> Any:
        problems = card_problems(call.json["content"]) if call.json["repoType"] == "dataset" else []
        if problems:
            raise RefusedError(400, "Bad Request", errors=problems)
        return {"errors": [], "warnings": []}

    @_answers("POST /api/repos/create")
    def create(self, call: Call) -> Any:
        _check_writer(call)
        name = f"{call.json['organization']}/{call.json['name']}"
        if name in self.repositories:
            raise RefusedError(409, "You already created this dataset repo")
        self.repositories[name] = Repository(call.json.get("visibility") == "private")
        self.repositories[name].commit({".gitattributes": Blob(b"*.parquet filter=lfs\n")})
        return {"url": f"{self.url}/datasets/{name}"}

    @_answers(f"PUT {_API}/settings")
    def settings(self, call: Call, name: str) -> Any:
        found = self._find(call, name, "write")
        if "visibility" in call.json:
            found.private = call.json["visibility"] == "private"
        found.gated = call.json.get("gated", found.gated)
        return {}

    @_answers(f"GET {_API}/auth-check/write")
    def check_write(self, call: Call, name: str) -> Any:
        self._find(call, name, "write")
        return {}

    @_answers(f"GET {_API}(?:/revision/(.+))?")
    def info(self, call: Call, name: str, revision: str | None) -> Any:
        found = self._find(call, name, "see")
        oid = found.resolve(revision or "main")
        siblings = [{"rfilename": path} for path in found.commits[oid]]
        counts = {"downloads": 0, "likes": 0, "tags": [], "siblings": siblings}
        return {"id": name, "sha": oid, "private": found.private, "gated": found.gated, **counts}

    @_answers(f"GET {_API}/tree/([^/]+)(?:/(.+))?")
    def tree(self, call: Call, name: str, revision: str, folder: str | None) -> Any:
        below = f"{folder}/" if folder else ""
        entries = [entry for entry in self._entries(call, name, revision) if entry["path"].startswith(below)]
        if not entries:
            raise RefusedError(404, f"{folder} does not exist", "EntryNotFound")
        recursive = call.query.get("recursive", ["false"])[0]
        if recursive.lower() == "false":
            entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(below)]
        start = int(call.query.get("cursor", ["0"])[0])
        if len(entries) > (end := start + PAGE):
            call.headers["link"] = f'<{self.url}{call.path}?cursor={end}&recursive={recursive}>; rel="next"'
        return entries[start:end]

    @_answers(f"POST {_API}/paths-info/([^/]+)")
    def paths_info(self, call: Call, name: str, revision: str) -> Any:
        form = parse_qs(call.body.decode())
        entries = [entry for entry in self._entries(call, name, revision) if entry["path"] in form["paths"]]
        if form.get("expand", ["false"])[0].lower() == "true":
            found = self._find(call, name, "read")
            for entry in entries:
                commit = found.last_change(entry["path"], found.resolve(revision))
                entry["lastCommit"] = {"id": commit, "title": "Publish", "date": "2026-01-01T00:00:00.000Z"}
        return entries

    @_answers("(?:GET|HEAD) /datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
    def resolve(self, call: Call, name: str, revision: str, path: str) -> Any:
        found = self._find(call, name, "read")
        oid = found.resolve(revision)
        if path not in found.commits[oid]:
            raise RefusedError(404, f"{path} does not exist", "EntryNotFound")
        blob = found.commits[oid][path]
        call.headers.update({"etag": f'"{blob.digest}"', "x-repo-commit": oid, "accept-ranges": "bytes"})
        return blob.data

    @_answers(f"POST {_API}/preupload/main")
    def preupload(self, call: Call, name: str) -> Any:
        held = {path: blob.digest for path, blob in self._find(call, name, "write").files.items()}
        paths = [file["path"] for file in call.json["files"]]
        modes = ["lfs" if path.endswith((".parquet", ".png")) else "regular" for path in paths]
        return {
            "files": [
                {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": held.get(path)}
                for path, mode in zip(paths, modes, strict=True)
            ]
        }

    @_answers(r"POST /datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
    def lfs_batch(self, call: Call, name: str) -> Any:
        self._find(call, name, "write")
        objects = call.json["objects"]
        for wanted in objects:
            if wanted["oid"] not in self._lfs:
                upload, verify = ({"href": f"{self.url}/{step}/{wanted['oid']}"} for step in ("lfs", "lfs-verify"))
                wanted["actions"] = {"upload": upload, "verify": verify}
        return {"transfer": "basic", "objects": objects}

    @_answers("PUT /lfs/([0-9a-f]{64})")
    def lfs_put(self, call: Call, oid: str) -> Any:
        self.uploaded_bytes += len(call.body)
        self._lfs[oid] = call.body
        return {}

    @_answers("POST /lfs-verify/([0-9a-f]{64})")
    def lfs_verify(self, call: Call, oid: str) -> Any:
        if hashlib.sha256(self._lfs[oid]).hexdigest() != oid:
            raise RefusedError(400, "not the announced content")
        return {}

    @_answers(f"POST {_API}/commit/main")
    def commit(self, call: Call, name: str) -> Any:
        found = self._find(call, name, "write")
        header, *changes = [json.loads(line) for line in call.body.splitlines()]
        if header["value"].get("parentCommit", found.head) != found.head:
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(found.files)
        for kind, value in ((change["key"], change["value"]) for change in changes):
            if kind == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]))
                self.uploaded_bytes += len(files[value["path"]].data)
            elif kind == "lfsFile":
                files[value["path"]] = Blob(self._lfs[value["oid"]], lfs=True)
            elif files.pop(value["path"], None) is None:
                raise RefusedError(404, "A file with this name doesn't exist", "EntryNotFound")
        oid = found.commit(files)
        return {"commitOid": oid, "commitUrl": f"{self.url}/datasets/{name}/commit/{oid}"}

    @_answers(f"POST {_API}/tag/([^/]+)")
    def tag(self, call: Call, name: str, revision: str) -> Any:
        found = self._find(call, name, "write")
        if call.json["tag"] in found.tags:
            raise RefusedError(409, "Tag reference exists already")
        found.tags[call.json["tag"]] = found.resolve(revision)
        return {}

    @_answers(f"GET {_API}/refs")
    def refs(self, call: Call, name: str) -> Any:
        found = self._find(call, name, "see")
        tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid} for tag, oid in found.tags.items()]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": found.head}
        return {"branches": [main], "converts": [], "tags": tags}

    def _entries(self, call: Call, name: str, revision: str) -> Iterator[dict[str, Any]]:
        """The folders and files of a commit, as the Hub lists them."""
        found = self._find(call, name, "read")
        files = sorted(found.commits[found.resolve(revision)].items())
        for folder in dict.fromkeys(path.rsplit("/", 1)[0] for path, _ in files if "/" in path):
            yield {"type": "directory", "path": folder, "oid": hashlib.sha1(folder.encode()).hexdigest(), "size": 0}
        for path, blob in files:
            lfs = {"oid": blob.digest, "size": len(blob.data), "pointerSize": 130} if blob.lfs else None
            yield {"type": "file", "path": path, "oid": blob.digest[:40], "size": len(blob.data), "lfs": lfs}


def _check_writer(call: Call) -> None:
    if call.role != "write":
        raise RefusedError(403, "You don't have the rights to do that")


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the tests."""


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            path = unquote(url.path)
            token = self.headers.get("authorization", "").removeprefix("Bearer ")
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            call = Call(path, parse_qs(url.query), body, ROLES.get(token))
            try:
                data = hub.answer(f"{self.command} {path}", call, token)
            except RefusedError as refusal:
                errors = [{"message": error} for error in refusal.errors]
                data = json.dumps({"error": str(refusal), **({"errors": errors} if errors else {})}).encode()
                self._send(refusal.status, data, {"x-error-message": str(refusal), "x-error-code": refusal.code})
                return
            if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", "")):
                start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
                place = {"content-range": f"bytes {start}-{end}/{len(data)}"}
                self._send(206, data[start : end + 1], {**call.headers, **place})
            else:
                self._send(200, data, call.headers)

        do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

        def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
