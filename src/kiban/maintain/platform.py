"""The platform's own files in a team's repository: which differ from the release, and their tests.

`make platform` runs this module. A release has a list of the hashes of its files; conf/, the ledgers, a team's own
features, sources, metrics and tests are not in it.
"""

import logging
import shutil
import sys
from pathlib import Path

import yaml
from pathspec import PathSpec

from kiban.core import files, paths
from kiban.core.errors import KibanError, exit_on_error
from kiban.core.git import git

HASHES = Path("platform.sha256")
"""The hashes of the files of a release, in the form of sha256sum; without it every file counts as changed."""
TEMPLATE = Path("copier.yml")
EXAMPLE = Path("tests/example")
"""The flights, which the tests use: in the platform's repository links, in a team's files."""
ELSEWHERE = {"dvc.config": ".dvc/config", "config.yaml": "conf/config.yaml"}
"""Files of the example with another path in it: a folder .dvc would be a project of DVC's, and Copier renders conf/."""
TEAMS = ("conf/", "data/", "reports/", "runners/", "monitoring/", "tests/team/")
TEAMS_FILES = ("dvc.lock", "params.yaml", "README.md", ".dvc/config", str(paths.ANSWERS), str(HASHES))


def is_platforms(name: str) -> bool:
    """Whether a file, by its path from the root, is the platform's and not a team's."""
    is_example = name.startswith(f"{EXAMPLE}/")
    return not name.startswith(TEAMS) and name not in TEAMS_FILES and not name.endswith(".jinja") and not is_example


def hashes(root: Path) -> dict[str, str]:
    """The SHA-256 of each of the platform's files by path, of those that a team's repository gets from `root`."""
    excluded = PathSpec.from_lines("gitignore", yaml.safe_load((root / TEMPLATE).read_bytes())["_exclude"])
    names = [name for name in _tracked(root) if is_platforms(name) and not excluded.match_file(name)]
    return {name: files.sha256(root / name) for name in names if (root / name).is_file()}


def of_release(root: Path) -> dict[str, str] | None:
    """The SHA-256 of each of the platform's files by path, as the release of `root` has them; None without a list."""
    if not (root / HASHES).exists():
        return None
    lines = (root / HASHES).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def differing(root: Path) -> list[str] | None:
    """The platform's files in which `root` differs from its release, sorted; None if its release has no list."""
    release = of_release(root)
    if release is None:
        return None
    present = {name: files.sha256(root / name) for name in release if (root / name).is_file()}
    return sorted(name for name, digest in release.items() if present.get(name) != digest)


def assemble(root: Path, folder: Path) -> None:
    """Make a git repository in `folder`, of the platform's files in `root` and of the flights.

    Raises KibanError if `root` has no example.
    """
    if not (root / EXAMPLE).is_dir():
        raise KibanError(f"{EXAMPLE} is missing, on which the platform's tests rest: restore it with `git checkout`")
    ignoring = [name for name in _tracked(root) if name.endswith("/.gitignore")]  # outputs, the same for all tables
    for name in [*(of_release(root) or filter(is_platforms, _tracked(root))), *ignoring]:
        if (root / name).exists():
            _copy(root / name, folder / name)
    for path in (root / EXAMPLE).rglob("*"):
        if path.is_file():
            name = path.relative_to(root / EXAMPLE).as_posix()
            _copy(path, folder / ELSEWHERE.get(name, name))
            _copy(path, folder / EXAMPLE / name)
    git(folder, "init", "-q", "-b", "main")
    if (folder / paths.LOCK).exists():
        _lock_to_code(folder)
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=kiban", "-c", "user.email=kiban@localhost", "commit", "-q", "-m", "the platform")


def _lock_to_code(folder: Path) -> None:
    """Have dvc.lock name code and conf/ as they are in `folder`: the tests are to compare what comes of them."""
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)  # it would say each time that it has written the file
    repo = Repo(str(folder))
    with repo.lock:
        for stage in repo.index.stages:
            for dep in stage.deps:
                if str(dep.def_path).startswith(("conf", "src/")) and dep.exists:
                    dep.save()
            stage.dump(update_pipeline=False, update_lock=True)


def _tracked(root: Path) -> list[str]:
    return [name for name in git(root, "ls-files", "-z").split("\0") if name]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def main() -> None:
    """Print the folder in which the platform's tests are to run; nothing, if they need not run.

    With --list, print the hashes of the platform's files as they are, for a release.
    """
    root = Path()
    if "--list" in sys.argv:
        print("\n".join(f"{digest}  {name}" for name, digest in sorted(hashes(root).items())))
        return
    if not (root / paths.ANSWERS).exists():  # this is the platform itself
        print(root)
        return
    changed = differing(root)
    if changed == []:
        print("the platform's files are those of the release: its tests have run there", file=sys.stderr)
        return
    what = "the release has no list of its files" if changed is None else f"changed: {', '.join(changed)}"
    print(f"{what}: the platform's tests run", file=sys.stderr)
    folder = root / ".kiban_platform"
    shutil.rmtree(folder, ignore_errors=True)
    assemble(root, folder)
    print(folder)


if __name__ == "__main__":
    exit_on_error(main)
