"""What can be wrong with a clone, its configuration and its machine, each with what mends it."""

import os
import platform
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kiban.config.composition import composed, differing_keys, listed
from kiban.core import rwlock, tombstones
from kiban.core.errors import KibanError, one_line
from kiban.core.files import size_of
from kiban.core.git import git, merging
from kiban.core.paths import CACHE, PARAMS, RUNS
from kiban.core.store import saved
from kiban.serve import released

CI_MACHINE = "Linux on x86_64"
LARGE = 5 * 10**9  # bytes
GROWING = (".dvc/cache", str(RUNS), "bentos", "logs", str(CACHE))


class Check(NamedTuple):
    """What was looked at, and what is wrong with it and how to mend that; None if nothing is.

    With `is_note` the problem is one to know of, not to mend.
    """

    subject: str
    problem: str | None
    is_note: bool = False


def examine(root: Path) -> list[Check]:
    """Every check of the repository at `root`. It changes nothing."""
    subjects: list[tuple[str, Callable[[Path], str | None]]] = [
        ("git knows this folder", _git),
        ("no merge is unfinished", _merge),
        ("no file has the markers of a conflict", _markers),
        ("params.yaml is composed from conf/", _params),
        ("DVC's list of locks can be read", _locks),
        ("DVC's cache of this machine is out of other accounts' reach", _site_cache),
        ("remotes are verified", _remotes),
        ("cycles run", _cycles),
        ("nothing that was erased has come back", _erased),
    ]
    notes: list[tuple[str, Callable[[Path], str | None]]] = [
        ("models have the bytes of CI", _machine),
        (f"what grows is below {LARGE // 10**9} GB", _size),
    ]
    return [
        *(Check(subject, check(root)) for subject, check in subjects),
        *(Check(subject, check(root), is_note=True) for subject, check in notes),
    ]


def _machine(root: Path) -> str | None:
    here = f"{platform.system()} on {platform.machine()}"
    if here == CI_MACHINE:
        return None
    return (
        f"this is {here}, where a model has other bytes than on {CI_MACHINE}, so that `make reproduce` in CI differs: "
        "let CI train: docs/team.md, Train in CI"
    )


def _size(root: Path) -> str | None:
    sizes = {name: size_of(root / name) for name in GROWING}
    if sum(sizes.values()) < LARGE:
        return None
    largest = max(sizes, key=lambda name: sizes[name])
    return (
        f"it is {sum(sizes.values()) / 10**9:.1f} GB, most of it in {largest}: `kiban clean` says what may go, once "
        "experiments that are not needed are removed (`dvc exp remove`)"
    )


def _git(root: Path) -> str | None:
    try:
        git(root, "rev-parse", "--git-dir")
    except OSError:
        return "git is not installed"
    except subprocess.CalledProcessError as error:
        if "dubious ownership" in error.stderr:
            return f"the folder belongs to another account: `git config --global --add safe.directory {root.resolve()}`"
        return "this is no git repository: take the project by `git clone`, not as an archive"
    return None


def _merge(root: Path) -> str | None:
    try:
        commit = merging(root)
    except (OSError, subprocess.CalledProcessError):
        return None  # the check before this one says so
    return commit and f"that of {commit[:7]} is: `kiban merge` goes on with it, `kiban merge --abort` gives it up"


def _markers(root: Path) -> str | None:
    """A merge of git, and an update of the platform, leave them where two versions of a line meet."""
    try:
        found = git(root, "grep", "--line-number", "-I", "-e", "^<<<<<<< ", "--", ".").splitlines()
    except (OSError, subprocess.CalledProcessError):  # there are none, or this is no repository
        return None
    places = [":".join(line.split(":", 2)[:2]) for line in found]
    return f"{listed(places)}: choose between the two versions there, and remove the markers"


def _params(root: Path) -> str | None:
    try:
        content = composed(root, [])
        if not (root / PARAMS).exists():
            return f"{PARAMS} is missing: `kiban compose`"
        keys = differing_keys((root / PARAMS).read_bytes(), content)
    except KibanError as error:
        return str(error)
    if (root / PARAMS).read_bytes() == content:
        return None
    differs = f"it differs in {listed(keys)}" if keys else "conf/ was edited since"
    return f"{differs}: `kiban compose` takes conf/, `kiban compose --adopt NAME` keeps params.yaml"


def _locks(root: Path) -> str | None:
    if rwlock.is_broken(root):
        return "a kill has left .dvc/tmp/rwlock unreadable: `kiban pull` removes it"
    return None


def _site_cache(root: Path) -> str | None:
    """DVC makes its folder writable for all, and unpickles what is in it; a folder above must not let others in."""
    folder = os.environ.get("DVC_SITE_CACHE_DIR") or _dvc_config(root)["core"].get("site_cache_dir")
    set_it = "`make` sets another one, or `dvc config --local core.site_cache_dir FOLDER` with an absolute path"
    if not folder:
        return f"it is /var/tmp/dvc, where any account may put a pickle that DVC loads: {set_it}"
    path = Path(folder)
    if not path.is_absolute():
        return f"{folder} follows the working directory: {set_it}"
    above = [parent for parent in path.parents if parent.exists()]
    if not any(_is_private(folder) for folder in above):
        return f"other accounts may enter {above[0]}: `chmod 700 {above[0]}`"
    return None


def _is_private(folder: Path) -> bool:
    state = folder.stat()
    return state.st_uid == os.getuid() and not stat.S_IMODE(state.st_mode) & 0o077


def _remotes(root: Path) -> str | None:
    """Without `verify` DVC takes an object of a store for what its name says."""
    for name, remote in _dvc_config(root)["remote"].items():
        if not remote.get("verify"):
            return f"what comes from {name} is not compared with its hash: `dvc remote modify {name} verify true`"
    return None


def _cycles(root: Path) -> str | None:
    """The release folder says when a cycle was run last. Who runs none has none."""
    last = released.last_cycle(Path(os.environ.get(released.FOLDER) or root / "release"))
    if last is None:
        return None
    if missed := last.missed(datetime.now(UTC)):
        return missed
    if last.outcome == "failed":
        return f"the last one failed: {'; '.join(last.problems)}"
    return None


def _erased(root: Path) -> str | None:
    """Of a clone that has just got a commit with data/erased.yaml, the cache still has what it names."""
    digests = tombstones.dates(tombstones.read(root))
    if not digests:
        return None
    there = saved(digests)
    return f"DVC's cache has {len(there)} objects that were erased: `kiban erase` removes them" if there else None


def _dvc_config(root: Path) -> dict[str, dict[str, Any]]:
    from dvc.config import Config, ConfigError

    try:
        return dict(Config(str(root / ".dvc")))
    except ConfigError as error:
        raise KibanError(f".dvc/config: {one_line(error)}") from None
