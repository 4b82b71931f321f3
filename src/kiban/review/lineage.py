"""The lineage of a model, found by its id: commit, data, parameters, metrics and validation."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kiban.core.errors import KibanError
from kiban.core.git import commits_with, git
from kiban.core.paths import EVALUATION
from kiban.data import prepared
from kiban.data.split import Resolved, parse
from kiban.data.verdict import Level, Verdict
from kiban.request import origin
from kiban.review.revision import Batch, Revision
from kiban.servable.evaluation import Figures

PARAMETERS = ("engine", "split", "sample", "missing", "model", "preprocessing", "decision")
"""The sections of params.yaml on which a model depends, besides its data."""


class Commit(BaseModel):
    hash: str
    author: str
    at: str
    subject: str


@dataclass(frozen=True)
class Lineage:
    """The lineage of a model. `commit` is the first commit with the model, or None if only the working tree has it.

    `batches` are by table and name, the prepared ones last; `metrics` are by split. A verdict that cannot be read is
    None.
    """

    model_id: str
    commit: Commit | None
    batches: Mapping[str, Mapping[str, Batch]]
    split: Resolved
    parameters: Mapping[str, Any]
    metrics: Mapping[str, Figures]
    verdicts: Mapping[Level, Verdict | None]


def lineage(model_id: str) -> Lineage:
    """The lineage of the model `model_id`, whose first 7 digits or more suffice.

    Raises KibanError if no commit has the model, if several models have these digits, or if the commit cannot be read.
    """
    if not re.fullmatch(r"[0-9a-f]{7,64}", model_id):
        raise KibanError(f"{model_id!r} is not the id of a model: give 7 to 64 hex digits")
    commits = commits_of(model_id)
    if len(commits) > 1:
        raise KibanError(f"{model_id} may mean {' or '.join(commits)}: give more digits")
    if not commits:
        raise KibanError(f"no commit here has a model {model_id}: `git fetch --all` brings the commits of others")
    ((whole, commit),) = commits.items()
    revision = Revision(commit)
    try:
        split = parse(revision.params["split"], revision.batches[prepared.TABLE])
    except (KeyError, ValidationError):
        raise KibanError(f"the params.yaml of {revision.label} has no valid split") from None
    return Lineage(
        model_id=whole,
        commit=_described(commit) if commit else None,
        batches=revision.batches,
        split=split,
        parameters={name: revision.params[name] for name in PARAMETERS if revision.params.get(name) is not None},
        metrics=revision.evaluation.splits,
        verdicts=revision.verdicts,
    )


def as_json(model: Lineage) -> dict[str, Any]:
    """The lineage as JSON values."""
    return {
        "model_id": model.model_id,
        "commit": model.commit.model_dump() if model.commit else None,
        "metrics": model.metrics,
        "parameters": model.parameters,
        "validation": {level: verdict.model_dump() if verdict else None for level, verdict in model.verdicts.items()},
        "data": {
            table: {
                batch: {"rows": entry.rows, "sha256": entry.sha256, "split": ", ".join(model.split.of(batch)) or None}
                for batch, entry in batches.items()
            }
            for table, batches in model.batches.items()
        },
    }


def commits_of(model_id: str, root: Path = Path()) -> dict[str, str | None]:
    """For each model whose id starts with `model_id`, the first commit of the project in `root` that has it; None for
    the working tree.

    Raises KibanError if git cannot be asked, or if the clone lacks the history.
    """
    try:
        shallow = git(root, "rev-parse", "--is-shallow-repository").strip() == "true"
        # A commit that took the model away has another.
        hashes = commits_with(root, origin.LINE.removesuffix('"').format(model_id), EVALUATION)
    except (OSError, subprocess.CalledProcessError):
        raise KibanError("this is not a git repository: no model can be found in it") from None
    if shallow:
        raise KibanError("this clone lacks the history in which a model could be found: `git fetch --unshallow`")
    commits: dict[str, str | None] = {}
    for commit in (*hashes, None):
        named = _model_of(commit, root)
        if named.startswith(model_id):
            commits.setdefault(named, commit)
    return commits


def _model_of(commit: str | None, root: Path) -> str:
    try:
        return Revision(commit, root).evaluation.model_id
    except KibanError:
        return ""


def _described(commit: str) -> Commit:
    fields = git(Path(), "show", "--no-patch", "--format=%H%n%an%n%cI%n%s", commit).splitlines()
    return Commit(hash=fields[0], author=fields[1], at=fields[2], subject=fields[3])
