"""What dvc.lock names and this clone lacks, from DVC's cache or its store, output by output."""

from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from kiban.core import lock
from kiban.core.errors import KibanError, one_line
from kiban.core.store import advice, brought, process, received


class Pulled(NamedTuple):
    """The outputs that were brought, and why others were not; None if none is absent or there is no store."""

    outputs: list[str]
    problem: str | None


def pull(patience: float) -> Pulled:
    """Bring each output of dvc.lock of which this clone has no file. What is there is left as it is.

    Waits for the store as long as bytes arrive, and at most `patience` seconds longer. Raises KibanError as
    `core.lock.outputs` does.
    """
    if all(_is_here(Path(path)) for path in lock.outputs(None)):
        return Pulled([], None)
    outputs: list[str] = []
    try:
        with process(_pull) as receiver:
            for kind, content in received(receiver, patience):
                if kind == "pulled":
                    outputs.append(content)
                else:
                    return Pulled(outputs, content or None)
    except KibanError as error:
        return Pulled(outputs, str(error))
    return Pulled(outputs, "the process that pulled was killed")


def _is_here(path: Path) -> bool:
    return any(file.is_file() for file in path.rglob("*")) if path.is_dir() else path.exists()


def _pull(sender: Connection) -> None:
    """Sends ("pulled", path) for each output that was brought, then ("ended", why others were not)."""
    from dvc.config import NoRemoteError
    from dvc.repo import Repo

    lacking: list[str] = []
    try:
        repo = Repo()
        for output in repo.index.outs:
            if not output.use_cache or not output.hash_info or _is_here(Path(output.fs_path)):
                continue
            if brought(repo, [output.hash_info.value], sender):
                repo.checkout([output.fs_path])
                sender.send(("pulled", str(output)))
            else:
                lacking.append(str(output))
    except NoRemoteError:
        sender.send(("ended", None))
    except Exception as error:  # of DVC, the store or the network
        sender.send(("ended", f"{one_line(error)}; {advice(error)}"))
    else:
        sender.send(("ended", f"the store lacks {', '.join(lacking)}" if lacking else None))
