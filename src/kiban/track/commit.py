"""What a tracked run says of the commit that it ran on."""

import subprocess
from pathlib import Path

from kiban.core.git import git

WRITTEN = (":!dvc.lock", ":!params.yaml", ":!reports")
"""What a run writes itself, so that it counts for nothing when one asks whether the tree is committed."""


def state(root: Path) -> dict[str, str]:
    """What a tracked run says of `root`: who runs it, the commit that is checked out, and whether more than a run's own
    output differs from it, so that the commit is only the parent of what ran. Nothing outside a git repository.

    The names are those that MLflow's pages know, where there is one.
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
