"""Asking git."""

import subprocess
from pathlib import Path

WRITTEN = (":!dvc.lock", ":!params.yaml", ":!reports")
"""What a run writes itself, so that it counts for nothing when one asks whether the tree is committed."""


def git(root: Path, *arguments: str) -> str:
    """What `git` prints in `root`; CalledProcessError if it fails, OSError if there is no git."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


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
