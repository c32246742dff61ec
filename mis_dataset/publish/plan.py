"""Compare a dataset's directory with what the Hub holds, and say what a push has to do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, but not in __all__

from mis_dataset.assemble.layout import CARD, CHANGELOG, MANIFEST
from mis_dataset.assemble.manifest import file_facts, read_manifest
from mis_dataset.diff import Diff, Version, compare
from mis_dataset.errors import DatasetError, LaterFormatError, PublishError, UsageError
from mis_dataset.publish.changelog import entry, first_entry, with_entry
from mis_dataset.publish.hub import Gating, Repository, check_card, connect, explained, last_change, look, read_text
from mis_dataset.validation import validate_or_raise

OWN_FOLDERS = ("data/", "provenance/", "assets/")
"""Here the Hub gets exactly the dataset's files; elsewhere, files that a person added (a licence) are left alone."""
FILES_A_COMMIT = 100
"""The Hub takes a minute at most over a commit and recommends 50 to 100 files
(https://huggingface.co/docs/hub/storage-limits)."""
_HEAVY = ("data/", "provenance/")
_MIXED = "files of both versions (its tags do not)"


@dataclass(frozen=True)
class PushPlan:
    """What a push will do."""

    repo_id: str
    found: Repository | None
    """What is there; None if the repository has to be created."""
    fingerprint: str
    """The dataset's."""
    upload: Mapping[str, int]
    """The paths of new and changed files, with their sizes in bytes."""
    delete: tuple[str, ...]
    """Files of earlier versions that this one no longer has."""
    unchanged: tuple[str, ...]
    private: bool
    """Whether the repository is private afterwards."""
    gating: Gating
    """The gate afterwards."""
    new_tag: str | None
    """The tag to set; None if none is wanted, or if it is there already."""
    changes: Diff | None
    """What changes for readers of the version that is there; None if there is none, or none to compare with."""
    changelog: str | None
    """The new text of the changelog; None if it stays."""

    @property
    def creates(self) -> bool:
        """Whether the repository is new; it is then created private and without a gate."""
        return self.found is None

    @property
    def changes_gate(self) -> bool:
        """Whether the gate is put up or taken away."""
        return self.gating != (self.found.gating if self.found else False)

    @property
    def changes_files(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.upload or self.delete)

    @property
    def makes_public(self) -> bool:
        """Whether a private repository becomes public."""
        return not self.private and (self.found is None or self.found.private)

    @property
    def upload_bytes(self) -> int:
        """The size of all files to upload, the changelog among them."""
        return sum(self.upload.values()) + len((self.changelog or "").encode())

    @property
    def batches(self) -> tuple[tuple[str, ...], ...]:
        """The files of each commit: all in one, if they are few; else those with rows first, and last all the others.

        What tells of the rows (card, manifest, changelog) and all deletions come with the last commit: a push that
        breaks off before is still seen as the version from which it came.
        """
        paths = tuple(self.upload)
        if len(paths) + len(self.delete) <= FILES_A_COMMIT:
            return (paths,)
        heavy = [path for path in paths if path.startswith(_HEAVY)]
        light = tuple(path for path in paths if not path.startswith(_HEAVY))
        pieces = (tuple(heavy[at : at + FILES_A_COMMIT]) for at in range(0, len(heavy), FILES_A_COMMIT))
        return (*pieces, light)

    def __str__(self) -> str:
        commits, files = len(self.batches), f"{len(self.upload)} file{'s'[: len(self.upload) != 1]}"
        seen = f"{'private' if self.private else 'public'}, {'gated' if self.gating else 'not gated'}"
        return "\n".join(
            [
                f"{self.repo_id}: {'new, ' if self.creates else ''}{seen}",
                *(f"  upload {path} ({size:,} bytes)" for path, size in self.upload.items()),
                *(f"  delete {path}" for path in self.delete),
                *([f"  add to {CHANGELOG}"] if self.changelog else []),
                f"  {self.upload_bytes:,} bytes in {files} to upload, {len(self.unchanged)} unchanged",
                *([f"  {self.changes}"] if self.changes else []),
                *([f"  {commits} commits; until the last one, main has {_MIXED}"] if commits > 1 else []),
                *([f"  {'put up' if self.gating else 'take away'} the gate"] if self.changes_gate else []),
                *(["  make it public"] if self.makes_public else []),
                *([f"  tag it {self.new_tag}"] if self.new_tag else []),
            ]
        )


def plan_push(
    directory: Path,
    repo_id: str,
    *,
    tag: str | None = None,
    public: bool = False,
    gate: bool = True,
    token: str | None = None,
) -> PushPlan:
    """What `push` would do, with the same arguments and errors; reads from the Hub and writes nothing."""
    _check_names(repo_id, tag)
    api = connect(token)
    validate_or_raise(directory)
    with explained(api, repo_id):
        found = look(api, repo_id)
    manifest = read_manifest(directory)
    files = {**manifest["files"], MANIFEST: file_facts(directory / MANIFEST)}
    held = found.files if found else {}
    unchanged = [path for path in files if path in held and _is_held(directory / path, files[path], held[path])]
    if found:
        _check_ours(repo_id, found, unchanged, public=public)
    upload = {path: facts["bytes"] for path, facts in files.items() if path not in unchanged}
    if CARD in upload:
        with explained(api, repo_id):
            check_card(api, (directory / CARD).read_text(encoding="utf-8"))
    changes, changelog = None, None
    if MANIFEST in upload:
        with explained(api, repo_id):
            changes, changelog = _told(api, repo_id, found, directory, tag)
    gating = (found and found.gating) or "manual"
    tagged = found.tags.get(tag) if found and tag else None
    plan = PushPlan(
        repo_id=repo_id,
        found=found,
        fingerprint=manifest["fingerprint"],
        upload=upload,
        delete=tuple(sorted(path for path in held if path.startswith(OWN_FOLDERS) and path not in files)),
        unchanged=tuple(unchanged),
        private=not public,
        gating=gating if gate else False,
        new_tag=None if tagged else tag,
        changes=changes,
        changelog=changelog,
    )
    if found and tagged and (plan.changes_files or tagged != found.head):
        raise PublishError(
            f"{repo_id} has a tag {tag} already, on another version (commit {tagged[:8]}); "
            "a tag is never moved: choose a new one"
        )
    return plan


def _told(
    api: HfApi, repo_id: str, found: Repository | None, directory: Path, tag: str | None
) -> tuple[Diff | None, str | None]:
    """What changes from what is there, and the changelog with it; neither if it is the same version, only damaged."""
    ours = Version.local(directory)
    fingerprint, rows = ours.manifest["fingerprint"], sum(ours.manifest["rows"].values())
    name = f"{tag}, `{fingerprint[:12]}`" if tag else f"`{fingerprint[:12]}`"
    text = read_text(api, repo_id, found.head, CHANGELOG) if found and CHANGELOG in found.files else ""
    changes: Diff | None = None
    if found and MANIFEST in found.files:
        try:
            # Where a push in several commits broke off, later ones have rows that are not the manifest's.
            theirs = Version.on_hub(api, repo_id, last_change(api, repo_id, found.head, MANIFEST))
            if theirs.manifest["fingerprint"] == fingerprint:
                return None, None
            changes = compare(theirs, ours)
        except LaterFormatError:
            raise
        except DatasetError:
            changes = None  # a version that nobody can read any more is replaced all the same
    return changes, with_entry(text, entry(name, changes) if changes else first_entry(name, rows))


def _check_names(repo_id: str, tag: str | None) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"{repo_id!r} is not a repository's name: {error}") from error
    if "/" not in repo_id:
        raise UsageError(f"{repo_id!r} lacks the user or organisation: give ORG/NAME")
    if tag is not None and not re.fullmatch(r"v\d+\.\d+\.\d+", tag, re.ASCII):
        raise UsageError(f"{tag!r} is not a version's tag: give one of the form v1.2.3")


def _check_ours(repo_id: str, found: Repository, unchanged: Collection[str], *, public: bool) -> None:
    if not (found.private or public):
        raise PublishError(f"{repo_id} is public; to push there, say --public, or make it private on the Hub first")
    # Of a first push in several commits that broke off there are files, and no manifest yet.
    strangers = sorted(found.files.keys() - {".gitattributes", CARD} - set(unchanged))
    if strangers and MANIFEST not in found.files:
        raise PublishError(
            f"{repo_id} holds something else ({', '.join(strangers[:3])}), not a dataset that `mis push` put there; "
            "choose another name, or empty it first"
        )


def _is_held(path: Path, facts: Mapping[str, Any], digest: str) -> bool:
    """Whether the Hub's file, known by its SHA-256 (64 digits) or its git blob id (40), has the same content."""
    if len(digest) == 64:
        return bool(facts["sha256"] == digest)
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == digest
