"""What must not run beside itself: a cycle in a clone, a promotion in a clone and into a release folder."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from kiban.core import paths
from kiban.core.errors import KibanError

Work = Literal["cycle", "promotion"]
FILES: dict[Work, str] = {"cycle": ".cycle.lock", "promotion": ".operate.lock"}


@contextmanager
def alone(work: Work, folders: Sequence[Path] = (paths.CACHE,), seconds: float = 0) -> Iterator[None]:
    """Keep out others that do the same work in one of the folders.

    Raises KibanError if one still runs after `seconds`.
    """
    try:
        with ExitStack() as locks:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
                locks.enter_context(FileLock(folder / FILES[work], timeout=seconds))
            yield
    except Timeout:
        shared = ", or for this release folder" if len(folders) > 1 else ""
        raise KibanError(f"another {work} runs in this clone{shared}: wait until it has ended") from None
