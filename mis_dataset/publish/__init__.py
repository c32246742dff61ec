"""Publish: put a dataset's directory on the Hugging Face Hub.

    validate ─► compare, plan ─► create, private ─► gate ─► upload and commit ─► make public ─► tag

Planning only reads. Data and card arrive in one commit or not at all, unless there are more files than the Hub likes in
one: then the rows come first, and what tells of them last. Nobody but the owners can read them before the gate is up.
A push that broke off is finished by the same call: what the Hub holds already is not sent again. What changed since
the version before is told in ``CHANGELOG.md``, which is on the Hub alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from mis_dataset.assemble.layout import CHANGELOG
from mis_dataset.publish.hub import Repository, connect, explained
from mis_dataset.publish.plan import PushPlan, plan_push

__all__ = ["PushPlan", "PushResult", "Repository", "plan_push", "push"]


@dataclass(frozen=True)
class PushResult:
    """What a push came to."""

    plan: PushPlan
    commit: str | None
    """The commit that holds the dataset, new or not; None after a dry run."""
    url: str
    """Where to look at it."""


def push(
    directory: Path,
    repo_id: str,
    *,
    tag: str | None = None,
    public: bool = False,
    gate: bool = True,
    dry_run: bool = False,
    token: str | None = None,
    on_event: Callable[[str], None] = lambda _: None,
) -> PushResult:
    """Publish the dataset in ``directory``, or what is new in it.

    Args:
        directory: a dataset that `assemble` wrote; it is validated first.
        repo_id: ``organisation/name``; created if there is none.
        tag: a name of the form ``v1.2.3`` for this version.
        public: let everybody see the repository. Without it, a new one is private and a public one is refused.
        gate: have readers ask for access. A gate that is there already is kept as it is.
        dry_run: only plan; writes nothing to the Hub.
        token: by default the one that `huggingface_hub` finds: HF_TOKEN, or that of `hf auth login`.
        on_event: is told in words what is planned and done.

    Raises:
        UsageError: the repository's name or the tag is malformed.
        DatasetError: the dataset is not valid.
        LaterFormatError: the dataset on the Hub is of a later version of this package.
        PublishAuthError: no token, or one without write access.
        PublishError: the Hub or its state does not allow it, or it cannot be reached.
    """
    plan = plan_push(directory, repo_id, tag=tag, public=public, gate=gate, token=token)
    on_event(str(plan))
    api = connect(token)
    url = f"{api.endpoint}/datasets/{repo_id}"
    if dry_run:
        return PushResult(plan, None, url)
    with explained(api, repo_id):
        commit = _carry_out(plan, api, directory, on_event)
    on_event(f"{url} is up to date (commit {commit[:8]})")
    return PushResult(plan, commit, url)


def _carry_out(plan: PushPlan, api: HfApi, directory: Path, on_event: Callable[[str], None]) -> str:
    """Do what is planned; returns the commit that holds the dataset."""
    repo_id = plan.repo_id
    if plan.creates:
        api.create_repo(repo_id, repo_type="dataset", private=True)
        on_event(f"created {repo_id}, private")
    if plan.changes_gate:
        api.update_repo_settings(repo_id, repo_type="dataset", gated=plan.gating)
        on_event("put up the gate" if plan.gating else "took the gate away")
    commit = plan.found.head if plan.found else str(api.dataset_info(repo_id).sha)
    if plan.changes_files:
        for number, paths in enumerate(plan.batches, 1):
            commit = _commit(plan, api, directory, commit, paths, is_last=number == len(plan.batches))
            if number < len(plan.batches):
                on_event(f"commit {number} of {len(plan.batches)}: {len(paths)} file{'s'[: len(paths) != 1]}")
        on_event(f"uploaded {len(plan.upload)} file{'s'[: len(plan.upload) != 1]}, deleted {len(plan.delete)}")
    if plan.makes_public:
        api.update_repo_settings(repo_id, repo_type="dataset", private=False)
        on_event("made it public")
    if plan.new_tag:
        api.create_tag(repo_id, repo_type="dataset", tag=plan.new_tag, revision=commit)
        on_event(f"tagged {plan.new_tag}")
    return commit


def _commit(plan: PushPlan, api: HfApi, directory: Path, parent: str, paths: Sequence[str], *, is_last: bool) -> str:
    """Upload some files as one commit on top of ``parent``; anything else on top of it is an error."""
    version = f"{plan.fingerprint[:12]} ({plan.new_tag})" if plan.new_tag else plan.fingerprint[:12]
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path, directory / path) for path in paths
    ]
    if is_last:
        operations += [CommitOperationDelete(path) for path in plan.delete]
        operations += [CommitOperationAdd(CHANGELOG, plan.changelog.encode())] if plan.changelog else []
    done = api.create_commit(
        plan.repo_id,
        operations,
        repo_type="dataset",
        commit_message=f"Publish dataset {version}{'' if is_last else ', more to come'}",
        commit_description=str(plan.changes) if plan.changes and is_last else "",
        parent_commit=parent,
    )
    return done.oid
