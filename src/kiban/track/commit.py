"""The tags of a tracked run that name its commit and its user."""

import subprocess
from pathlib import Path

from kiban.core.git import git

WRITTEN = (":!dvc.lock", ":!params.yaml", ":!reports")
"""Paths that a run itself writes. Changes to them do not make the working tree dirty."""


def state(root: Path) -> dict[str, str]:
    """The tags of a run in the repository `root`: the user, the commit, and whether the working tree is dirty.

    The tree is dirty if files other than the run's own outputs differ from the commit; the code that ran is then not
    that of the commit. The result is empty outside a git repository. Tags have the names that MLflow's pages show.
    """
    try:
        commit = git(root, "rev-parse", "HEAD").strip()
        dirty = bool(git(root, "status", "--porcelain", "--", ".", *WRITTEN))
    except (OSError, subprocess.CalledProcessError):
        return {}
    try:
        user = {"mlflow.user": git(root, "config", "user.name").strip()}
    except subprocess.CalledProcessError:
        user = {}
    return {"mlflow.source.git.commit": commit, "git.commit": commit, "git.dirty": str(dirty).lower(), **user}
