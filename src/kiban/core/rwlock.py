"""DVC's list of who reads and writes which paths. DVC writes it in place, so that a kill can leave it unreadable."""

import json
import time
from pathlib import Path

WRITING = 1.0
"""Seconds in which a process that is just writing the list has surely written it: a few hundred bytes."""


def is_broken(root: Path) -> bool:
    """Whether the list of the project in `root` cannot be read, at which every command of DVC would end."""
    try:
        json.loads(_path(root).read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


def mend(root: Path) -> None:
    """Remove the list of the project in `root` if a kill has left it unreadable. DVC writes it anew.

    Waits at most `WRITING` seconds for another process that may be writing it.
    """
    last = time.monotonic() + WRITING
    while is_broken(root):
        if time.monotonic() > last:
            _path(root).unlink(missing_ok=True)
        else:
            time.sleep(WRITING / 20)


def _path(root: Path) -> Path:
    return root / ".dvc/tmp/rwlock"
