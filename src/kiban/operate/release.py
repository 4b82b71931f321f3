"""Laying a release on the serving machine. kiban.serve.released says what the folder holds."""

import contextlib
import os
import shutil
import time
from pathlib import Path

from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.review.revision import Revision
from kiban.servable import manifest
from kiban.servable.load import load
from kiban.serve import released
from kiban.serve.released import CURRENT, RELEASE, REPORT, SERVABLE, WORKERS, Release

DEFAULT = Path("release")
IMPORTANCE = paths.PLOTS / "importance.csv"
PATIENCE = 60.0  # seconds for the workers to answer with a new model
SILENCE = 10.0  # seconds without a sign of life after which there is no service
POLL = 0.2  # seconds


def root() -> Path:
    """The release folder: KIBAN_RELEASE, or release/ of the repository."""
    return Path(os.environ.get(released.FOLDER) or DEFAULT)


def current(root: Path) -> Release | None:
    """The release that answers, or None."""
    return released.release_in(root / CURRENT)


def write(root: Path, release: Release) -> None:
    """Write a release, from its commit, beside the others, whole or not at all. One that is there and whole stays.

    Raises KibanError if a file of it is in neither cache nor store.
    """
    there = released.release_in(root / release.name)
    if there and there.commit == release.commit and _is_whole(root / release.name, release):
        if there != release:
            files.write(root / release.name / RELEASE, _content(release))
        return
    revision = Revision(release.commit)
    with files.whole(root / release.name) as folder:
        write_servable(revision, folder / SERVABLE)
        if load(folder / SERVABLE).model_id != release.model_id:
            raise KibanError(f"the model of {revision.label} is not the one of {release.version}")
        (folder / REPORT).write_bytes(revision.content(paths.EVALUATION))
        with contextlib.suppress(FileNotFoundError):  # a release of the platform that did not write it
            (folder / IMPORTANCE.name).write_bytes(revision.content(IMPORTANCE))
        (folder / RELEASE).write_bytes(_content(release))


def write_servable(revision: Revision, folder: Path) -> None:
    """Write the servable of a revision to a new folder, from cache or store, or else from a release on this machine.

    Raises KibanError if a file is in none of them.
    """
    try:
        _write_tracked(revision, folder)
    except KibanError:
        for path in root().glob(f"*/{RELEASE}"):
            laid = released.release_in(path.parent)
            if laid and laid.commit == revision.commit:
                shutil.copytree(path.parent / SERVABLE, folder, dirs_exist_ok=True)
                return
        raise


def _write_tracked(revision: Revision, folder: Path) -> None:
    folder.mkdir(parents=True)
    names = [manifest.FILE]
    for name in names:  # the manifest names the others
        try:
            content = revision.content(paths.SERVABLE / name)
        except FileNotFoundError:
            advice = "`dvc fetch --all-commits` brings it if it was pushed"
            raise KibanError(f"{paths.SERVABLE / name} of {revision.label} is not here: {advice}") from None
        if name == manifest.FILE:
            names += manifest.files_in(content, f"{paths.SERVABLE / name} of {revision.label}")
        (folder / name).write_bytes(content)


def _is_whole(folder: Path, release: Release) -> bool:
    try:
        return load(folder / SERVABLE).model_id == release.model_id
    except KibanError:
        return False


def _content(release: Release) -> bytes:
    return (release.model_dump_json(indent=1) + "\n").encode()


def turn(root: Path, release: Release, keep: int) -> None:
    """Let `current` name a release that is there, and remove the oldest ones beyond `keep`."""
    link = root / f".{CURRENT}"
    link.unlink(missing_ok=True)
    link.symlink_to(release.name)
    link.replace(root / CURRENT)
    os.utime(root / release.name)  # its time orders the releases
    others = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink() and (path / RELEASE).exists()]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in others[keep:]:
        shutil.rmtree(path)


def await_workers(root: Path, release: Release) -> str:
    """Wait until every worker of the service answers with the release, and say what was seen.

    A worker lives if its file changes meanwhile. Raises KibanError if one has refused the model, or if some still
    answer with another one after PATIENCE seconds.
    """
    started = time.monotonic()
    if not (root / WORKERS).is_dir():
        return f"no service has read {root} yet: start one with {released.FOLDER}={root}"
    before = {name: moment for name, (moment, _) in released.workers(root).items()}
    while True:
        living = {name: each for name, (moment, each) in released.workers(root).items() if moment != before.get(name)}
        for each in living.values():
            if each.refused == release.model_id:
                raise KibanError(f"the service refuses {release.version}: {each.reason}; `kiban rollback` goes back")
        late = [each for each in living.values() if each.model_id != release.model_id]
        seconds = time.monotonic() - started
        if living and not late and len(living) >= max(each.workers for each in living.values()):
            return f"{len(living)} workers answer with it after {seconds:.1f} s"
        if not living and seconds > SILENCE:
            return f"no service was seen that reads {root}"
        if seconds > PATIENCE:
            answering = ", ".join(sorted({each.model_id[:12] for each in late})) or "nothing"
            raise KibanError(
                f"after {seconds:.0f} s not all workers answer with {release.version}, but with {answering}: see the "
                "log of the service"
            )
        time.sleep(POLL)
