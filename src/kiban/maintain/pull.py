"""What dvc.lock names and this clone lacks, from DVC's cache or its store, output by output."""

from collections.abc import Collection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console

from kiban.config.params import check_has_data
from kiban.core import lock, paths, rwlock
from kiban.core.errors import KibanError, one_line
from kiban.core.settings import load
from kiban.core.store import advice, brought, is_saved, process, received, working

RAW = "data/raw/"


class Pulled(NamedTuple):
    """The outputs that were brought, and why others were not; None if none is absent or there is no store."""

    outputs: list[str]
    problem: str | None


How = Literal["absent", "saved", "any"]
"""Which outputs are brought: those of which there is no file; those too that differ, and of which DVC has saved what is
there; or all that differ. Raw data that is there is left to the stage ingest, which knows what is new."""


def pull(patience: float, how: How, only: Collection[str] | None = None) -> Pulled:
    """Bring outputs of dvc.lock, or only those with these paths, to this clone.

    DVC's list of locks is mended if a kill has broken it.

    Waits for the store as long as bytes arrive, and at most `patience` seconds longer. Raises KibanError if params.yaml
    names no data yet, and as `core.lock.outputs` does.
    """
    if not paths.LOCK.exists() and paths.PARAMS.exists():
        check_has_data(load(paths.PARAMS.read_bytes()).get("dataset", {}).get("tables", {}))
    rwlock.mend(Path())
    named = lock.outputs(None)
    if only is not None:
        named = {path: digest for path, digest in named.items() if path in only}
    if how == "absent" and all(_is_here(Path(path)) for path in named):
        return Pulled([], None)
    outputs: list[str] = []
    try:
        waiting = Console(stderr=True).status("bringing what dvc.lock names")
        with waiting, process(_pull, how, set(named)) as receiver:
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


def _pull(how: How, named: Collection[str], sender: Connection) -> None:
    """Sends ("pulled", path) for each output that was brought, then ("ended", why others were not)."""
    from dvc.config import NoRemoteError
    from dvc.repo import Repo

    lacking: list[str] = []
    problem = None  # with the store, which is not asked again then
    try:
        repo = Repo()
        for output in repo.index.outs:
            if not output.use_cache or not output.hash_info or str(output) not in named:
                continue
            is_here = _is_here(Path(output.fs_path))
            if is_here and (how == "absent" or str(output).startswith(RAW) or not output.changed_checksum()):
                continue
            if is_here and how == "saved" and not _is_saved(output, repo):
                continue
            digest = output.hash_info.value
            try:
                is_there = is_saved(repo, [digest]) if problem else brought(repo, [digest], sender)
            except NoRemoteError:
                continue
            except Exception as error:  # of DVC, the store or the network
                problem, is_there = f"{one_line(error)}; {advice(error)}", False
            if is_there:
                with working(sender):
                    repo.checkout([output.fs_path], force=is_here)
                sender.send(("pulled", str(output)))
            else:
                lacking.append(str(output))
    except Exception as error:  # of DVC: the graph cannot be read, or another command of DVC is at it
        problem = one_line(error)
    sender.send(("ended", problem or (f"the store lacks {', '.join(lacking)}" if lacking else None)))


def _is_saved(output: Any, repo: Any) -> bool:
    """Whether DVC's cache has what an output is in this clone, so that nothing is lost if it is replaced."""
    digest = output.get_hash().value
    return digest is not None and is_saved(repo, [digest])
