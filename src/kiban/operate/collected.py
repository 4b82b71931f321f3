"""The prediction logs of all machines: what their services have copied to a store is brought to this one."""

from datetime import datetime
from functools import partial
from pathlib import Path

from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.request import logged
from kiban.sources import stores

FOLDER = paths.CACHE / "predictions"


def bring(address: str, own: Path, since: datetime, folder: Path = FOLDER) -> None:
    """Bring each file that was begun `since` then, and that neither the log of this machine in `own` nor `folder` has.

    Earlier ones are removed from `folder`. Raises KibanError if the store cannot be read, or has no copies; what was
    brought stays.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if not _is_wanted(path.name, since):
            path.unlink()
    days = stores.reached(address, lambda: stores.names(address))
    if not days:
        raise KibanError(f"{address} has no copies of the prediction log: is {logged.STORE} that of the services?")
    for day in days:
        if day < f"{since:%Y%m%d}":
            continue
        for name in _names(f"{address.rstrip('/')}/{day}"):
            place = folder / name
            if _is_wanted(name, since) and not place.exists() and not (own / name.removesuffix(logged.COPY)).exists():
                copy = logged.copied_to(address, name.removesuffix(logged.COPY))
                files.write(place, stores.reached(copy, partial(stores.content, copy)))


def _names(address: str) -> list[str]:
    return stores.reached(address, lambda: stores.names(address))


def _is_wanted(name: str, since: datetime) -> bool:
    try:
        return name.endswith(logged.COPY) and logged.begun(name) >= since
    except ValueError:  # a file of something else
        return False
