"""The prediction logs of all machines: what their services have copied to a store is brought to this one."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.request import logged
from kiban.sources import stores

FOLDER = paths.CACHE / "predictions"
AT_ONCE = 100  # files that are asked for together


def bring(address: str, own: Path, since: datetime, folder: Path = FOLDER) -> None:
    """Bring each file that was begun `since` then, and that neither the log of this machine in `own` nor `folder` has.

    Earlier ones are removed from `folder`. Raises KibanError if the store cannot be read, or has no copies; what was
    brought stays.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if not _is_wanted(path.name, since):
            path.unlink()
    days = names(address)
    if not days:
        raise KibanError(f"{address} has no copies of the prediction log: is {logged.STORE} that of the services?")
    wanted = [name for name in copies(address, days, f"{since:%Y%m%d}") if _is_wanted(name, since)]
    absent = [name for name in wanted if not (folder / name).exists()]
    absent = [name for name in absent if not (own / name.removesuffix(logged.COPY)).exists()]
    for first in range(0, len(absent), AT_ONCE):
        part = absent[first : first + AT_ONCE]
        places = [logged.copied_to(address, name.removesuffix(logged.COPY)) for name in part]
        contents = stores.reached(address, partial(stores.contents, places))
        for name, content in zip(part, contents, strict=True):
            files.write(folder / name, content)


def copies(address: str, days: Iterable[str], first: str = "") -> Iterator[str]:
    """The names of the copies of some days, from the first one on. Raises KibanError if the store cannot be read."""
    for day in days:
        if day >= first:
            yield from names(f"{address.rstrip('/')}/{day}")


def names(address: str) -> list[str]:
    """The names in a folder of the store. Raises KibanError if it cannot be read."""
    return stores.reached(address, lambda: stores.names(address))


def _is_wanted(name: str, since: datetime) -> bool:
    try:
        return name.endswith(logged.COPY) and logged.begun(name) >= since
    except ValueError:  # a file of something else
        return False
