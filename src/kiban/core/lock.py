"""What a revision names of DVC's objects: the outputs in its dvc.lock and its *.dvc files that git does not have."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kiban.core.errors import KibanError
from kiban.core.git import git
from kiban.core.paths import LOCK
from kiban.core.settings import check_no_conflict


def outputs(commit: str | None) -> dict[str, str]:
    """The MD5 of each output by its path, of a commit, or of the working tree if `commit` is None.

    The MD5 of a folder ends in .dir. Raises KibanError if a file that names outputs cannot be read, and if this is no
    git repository.
    """
    try:
        if commit is None:
            listing = git(Path(), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
        else:
            listing = git(Path(), "ls-tree", "-z", "-r", "--name-only", commit, "--", ".")
        tracked = listing.split("\0")
        named = [name for name in tracked if name == str(LOCK) or name.endswith(".dvc")]
        found = {path: digest for name in named for path, digest in _in(name, commit)}
    except (OSError, subprocess.CalledProcessError):
        raise KibanError("git does not list the files here: `kiban doctor` says what is wrong") from None
    kept = {Path(name) for name in tracked if name}
    kept |= {parent for path in kept for parent in path.parents}
    return {path: digest for path, digest in found.items() if Path(path) not in kept}


def _in(name: str, commit: str | None) -> Iterator[tuple[str, str]]:
    """The paths, from here, and MD5 of the outputs in one file."""
    if commit is None and not Path(name).exists():  # deleted, and not yet in a commit
        return
    content = Path(name).read_text() if commit is None else git(Path(), "show", f"{commit}:./{name}")
    where = f"{name} of {commit[:7]}" if commit else name
    check_no_conflict(content.encode(), where)
    try:
        parsed: Any = yaml.load(content, yaml.CSafeLoader) or {}
        for stage in parsed.get("stages", {}).values() if name == str(LOCK) else [parsed]:
            for output in stage.get("outs", []):
                if "md5" in output:
                    yield (Path(name).parent / output["path"]).as_posix(), output["md5"]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        raise KibanError(f"{where} cannot be read: restore it with `git checkout`, or run `dvc repro`") from None
