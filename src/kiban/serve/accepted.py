"""The servable that was accepted last, in a folder of the server's own, where each of its workers begins.

What lies in the watched folder may have been refused: a worker in the place of a dead one must not take it, nor fail.
"""

import atexit
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

FOLDER = "KIBAN_ACCEPTED"
"""The environment variable by which a server's first process tells its workers of the folder."""

CURRENT = "current"  # a link


def folder() -> Path:
    """The server's folder, among the temporary ones; its first process makes it, and removes it at the end."""
    if FOLDER not in os.environ:
        temporary = TemporaryDirectory(prefix="kiban-accepted-")
        atexit.register(temporary.cleanup)
        os.environ[FOLDER] = temporary.name
    return Path(os.environ[FOLDER])


def current() -> Path | None:
    """The servable that was accepted last; None in a server's first process, before it has accepted one."""
    link = folder() / CURRENT
    return link if link.exists() else None


def copy(servable: Path) -> Path:
    """A copy of what lies in the folder now, for nobody else to change. Raises OSError if it cannot be made."""
    path = Path(mkdtemp(dir=folder()))
    try:
        return shutil.copytree(servable, path, dirs_exist_ok=True)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def keep(copied: Path, model_id: str) -> None:
    """Have a copy, of this model, be the current one. Raises OSError if that cannot be written."""
    kept = folder() / model_id
    if not kept.exists():
        try:
            copied.rename(kept)
        except OSError:
            if not kept.exists():  # else another worker was here first
                raise
    link = folder() / f"link-{os.getpid()}"
    link.symlink_to(kept.name)
    link.replace(folder() / CURRENT)
    for path in folder().glob("?" * len(model_id)):  # another model's, by its name
        if path != kept:
            shutil.rmtree(path, ignore_errors=True)
