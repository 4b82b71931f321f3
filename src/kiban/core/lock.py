"""What a revision names of DVC's objects: the outputs in its dvc.lock and its *.dvc files that git does not have."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kiban.core.errors import KibanError
from kiban.core.git import git
from kiban.core.paths import LOCK
from kiban.core.settings import check_no_conflict

IN_REFLOGS = ("refs/stash", "refs/exps/celery")
"""Older stashes, and what is queued in DVC, stand in the logs of these references alone."""


def outputs(commit: str | None, root: Path = Path()) -> dict[str, str]:
    """The MD5 of each output by its path, of a commit of the project in `root`, or of the working tree.

    The MD5 of a folder ends in .dir. Raises KibanError if a file that names outputs cannot be read, and if this is no
    git repository.
    """
    try:
        if commit is None:
            listing = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
        else:
            listing = git(root, "ls-tree", "-z", "-r", "--name-only", commit, "--", ".")
        tracked = listing.split("\0")
        named = [name for name in tracked if name == str(LOCK) or name.endswith(".dvc")]
        found = {path: digest for name in named for path, digest in _in(name, commit, root)}
    except (OSError, subprocess.CalledProcessError):
        raise KibanError("git does not list the files here: `kiban doctor` says what is wrong") from None
    kept = {Path(name) for name in tracked if name}
    kept |= {parent for path in kept for parent in path.parents}
    return {path: digest for path, digest in found.items() if Path(path) not in kept}


def ever_named() -> set[str]:
    """The MD5 of every output that the working tree or any commit names, of branches, tags, stashes and experiments.

    Raises KibanError as `outputs` does; a file of an old commit that cannot be read is left out.
    """
    digests = set(outputs(None).values())
    try:
        kept = git(Path(), "for-each-ref", "--format=%(refname)", *IN_REFLOGS).split()
        older = [entry for name in kept for entry in git(Path(), "reflog", "show", "--format=%H", name).split()]
        form = ("--full-history", "-m", "--format=", "--raw", "--no-abbrev", "--no-renames")
        changes = git(Path(), "log", "--all", *older, *form, "--", str(LOCK), "*.dvc").splitlines()
    except (OSError, subprocess.CalledProcessError):
        raise KibanError("git does not list the commits here: `kiban doctor` says what is wrong") from None
    # A line is: the modes, the blobs before and after, and then the letter of the change and the path.
    blobs = {(change.split()[3], change.partition("\t")[2]) for change in changes}
    for blob, path in blobs:
        if blob.strip("0"):
            with contextlib.suppress(KibanError):
                digests |= {digest for _, digest in _parsed(git(Path(), "cat-file", "blob", blob), path, path)}
    return digests


def _in(name: str, commit: str | None, root: Path) -> Iterator[tuple[str, str]]:
    """The paths, from the root, and MD5 of the outputs in one file."""
    if commit is None and not (root / name).exists():  # deleted, and not yet in a commit
        return
    content = (root / name).read_text() if commit is None else git(root, "show", f"{commit}:./{name}")
    yield from _parsed(content, name, f"{name} of {commit[:7]}" if commit else name)


def _parsed(content: str, name: str, where: str) -> Iterator[tuple[str, str]]:
    check_no_conflict(content.encode(), where)
    try:
        parsed: Any = yaml.load(content, yaml.CSafeLoader) or {}
        for stage in parsed.get("stages", {}).values() if Path(name).name == LOCK.name else [parsed]:
            for output in stage.get("outs", []):
                if "md5" in output:
                    yield (Path(name).parent / output["path"]).as_posix(), output["md5"]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        raise KibanError(f"{where} cannot be read: restore it with `git checkout`, or run `dvc repro`") from None
