"""The worktree of the cycle: a checkout of its own, so that nobody's uncommitted files are touched.

A bare worktree would have an empty cache of DVC, no remote that only this clone knows, and no memory of what was
computed before. So it is told where the clone keeps them.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from kiban.core import paths, rwlock
from kiban.core.errors import KibanError, one_line
from kiban.core.git import git

FOLDER = Path(".kiban_cycle")
SHARED = (paths.CACHE, paths.OUTBOX, paths.RUNS)
"""What the worktree has in common with the clone, by links."""

LAST_LINES = 12  # of a command that failed


@contextmanager
def at(commit: str) -> Iterator[Path]:
    """The worktree, at a commit, with the data of that commit, as the working directory; whatever it was before.

    Raises KibanError if git cannot make it, or if the data are in neither cache nor store.
    """
    root = Path.cwd()
    folder = root / FOLDER
    try:
        _checked_out(root, folder, commit)
    except subprocess.CalledProcessError as error:
        raise KibanError(f"git cannot make the worktree {FOLDER}: {one_line(error.stderr)}") from None
    project = folder / git(root, "rev-parse", "--show-prefix").strip()
    for name in SHARED:
        (root / name).mkdir(exist_ok=True)
        link = project / name
        if not link.is_symlink():
            link.symlink_to(root / name)
    _configure(root, project)
    os.chdir(project)
    try:
        dvc("fetch", check=False)  # what the cache has needs no store
        dvc("checkout", "--force")
        yield project
    finally:
        os.chdir(root)


def _checked_out(root: Path, folder: Path, commit: str) -> None:
    git(root, "worktree", "prune")
    known = git(root, "worktree", "list", "--porcelain").splitlines()
    if f"worktree {folder.resolve()}" not in known or not (folder / ".git").exists():
        shutil.rmtree(folder, ignore_errors=True)
        git(root, "worktree", "prune")
        git(root, "worktree", "add", "--detach", "--force", str(folder), commit)
        return
    lock = Path(git(folder, "rev-parse", "--path-format=absolute", "--git-path", "index.lock").strip())
    lock.unlink(missing_ok=True)  # of a git that was killed: the lock of the cycle says that none runs
    git(folder, "reset", "--quiet", "--hard")
    git(folder, "checkout", "--quiet", "--detach", commit)
    git(folder, "clean", "--quiet", "-d", "--force")


def _configure(root: Path, project: Path) -> None:
    """Give the worktree the settings of DVC that only this clone has, and its cache."""
    from dvc.config import Config
    from dvc.repo import Repo

    with Repo(root) as repo:
        local = repo.config.load_one("local")
        local["remote"] = dict(repo.config.get("remote", {}))  # of all levels, with paths that hold here too
        cache = repo.cache.local_cache_dir
    local.setdefault("cache", {})["dir"] = cache
    folder = project / ".dvc"
    with Config(str(folder)).edit("local") as settings:
        settings.clear()
        settings.update(local)
    rwlock.mend(project)


def link(names: Iterable[str], root: Path) -> None:
    """Link files and folders of the clone that git does not know, such as a feed, to the same place here.

    A name is a path, in which {batch}, or what a pattern has in place of it, stands for any text. What is no path of
    the clone is left out. Raises KibanError if it leads out of the clone and begins within it.
    """
    for name in names:
        path = PurePosixPath(re.sub(r"\{\w+\}", "*", name))
        if "://" in name or "**" in name or path.is_absolute() or path.parts[:1] == ("*",):
            continue
        leads_out = ".." in path.parts
        with suppress(OSError, ValueError):  # what is no path, such as a long query
            if leads_out and any(root.glob(str(path))):
                raise KibanError(
                    f"{name} leads elsewhere from the worktree of a cycle: write the whole path, from / on"
                )
            if not leads_out:
                _link(path.parts, Path(), root)


def _link(parts: Sequence[str], folder: Path, root: Path) -> None:
    """Link what the pattern `parts` finds in a folder of the clone; of a folder that is here too, what is in it."""
    if not parts:
        return
    for gone in [path for path in folder.glob(parts[0]) if not path.exists()]:
        gone.unlink()  # a link of an earlier cycle
    for found in sorted((root / folder).glob(parts[0])):
        here = folder / found.name
        if parts[1:] and not found.is_dir():
            continue
        if not here.exists():
            here.symlink_to(found)
        elif here.is_dir() and not here.is_symlink():
            _link(parts[1:], here, root)


def dvc(*arguments: str, check: bool = True) -> str:
    """Run DVC here, and return what it printed. Raises KibanError, with its last lines, if it fails."""
    return _run([sys.executable, "-m", "dvc", *arguments], check)


def kiban(*arguments: str, check: bool = True) -> str:
    """Run a command of the code that is checked out here. Raises KibanError, as `dvc` does."""
    return _run([sys.executable, "-c", "from kiban.cli import main; main()", *arguments], check)


def _run(command: list[str], check: bool) -> str:
    binaries = str(Path(sys.executable).parent)
    environment: Mapping[str, str] = {
        **os.environ,
        "PYTHONPATH": str(Path("src").resolve()),
        "PATH": os.pathsep.join([binaries, os.environ.get("PATH", "")]),
    }
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    said = f"{done.stdout}{done.stderr}"
    if check and done.returncode:
        lines = [line for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")]
        raise KibanError("; ".join(one.removeprefix("error: ") for one in errors or lines[-LAST_LINES:]))
    return said
