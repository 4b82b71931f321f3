"""DVC's cache and store, asked in a process of its own: a store that dies or never answers holds nobody for ever."""

import multiprocessing
import re
import shutil
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kiban.core.errors import KibanError, one_line
from kiban.core.files import whole

PATIENCE = 60
"""Seconds to wait for a store that makes no progress."""
FOLDER = ".dir"
"""The end of the hash of an object that lists a folder."""


@contextmanager
def process(work: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """The end of a pipe to read what `work` sends from a process of its own, called with `arguments` and its own end.

    The process is killed when the context ends: DVC repeats its requests to a dead server for minutes, and only the end
    of the process ends that.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=work, args=(*arguments, sender), daemon=True)
    with _no_script():
        worker.start()
    sender.close()
    try:
        yield receiver
    finally:
        worker.kill()
        worker.join()


@contextmanager
def _no_script() -> Iterator[None]:
    """Let a new process not run the script again from which this is called."""
    main = sys.modules["__main__"]
    kept: dict[str, Any] = {}
    kept |= {name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(kept)


def received(receiver: Connection, patience: float) -> Iterator[Any]:
    """What comes from the pipe, until it is closed; None, which says that the work goes on, is left out.

    Raises KibanError if nothing comes for `patience` seconds.
    """
    while receiver.poll(patience):
        try:
            if (message := receiver.recv()) is not None:
                yield message
        except EOFError:
            return
    raise KibanError(f"the store has made no progress for {patience:g} s")


def brought(repo: Any, hashes: Collection[str], sender: Connection) -> bool:
    """Bring objects from the store of a `dvc.repo.Repo` into its cache, with those that are in a folder's object.

    Returns whether the cache has all of them then. Sends None to `sender` at each step. Raises what DVC, the store and
    the network raise.
    """
    from dvc_data.hashfile.hash_info import HashInfo

    if not is_saved(repo, hashes):
        store = repo.cloud.get_remote_odb()
        settings = {"verify": True, "cache_odb": repo.cache.local, "callback": _heartbeat(sender)}
        folders = {HashInfo("md5", digest) for digest in hashes if digest.endswith(FOLDER)}
        repo.cloud.transfer(store, repo.cache.local, folders, shallow=True, **settings)
        objects = {HashInfo("md5", digest) for digest in _with_content(repo, hashes)}
        repo.cloud.transfer(store, repo.cache.local, objects - folders, **settings)
    return is_saved(repo, hashes)


def is_saved(repo: Any, hashes: Collection[str]) -> bool:
    """Whether the cache of a `dvc.repo.Repo` has the objects, with those that are in a folder's object."""
    return all(repo.cache.local.exists(digest) for digest in _with_content(repo, hashes))


def _with_content(repo: Any, hashes: Collection[str]) -> set[str]:
    """The hashes, and those that the folders among them hold, as far as the cache has the folders."""
    folders = [digest for digest in hashes if digest.endswith(FOLDER)]
    return set(hashes).union(*(content(digest, repo.cache.local).values() for digest in folders))


def content(folder: str, *databases: Any) -> dict[str, str]:
    """The hash of each file that a folder's object lists, by its path in the folder.

    It is empty if none of DVC's object databases, such as its cache, has the object.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.transfer import find_tree_by_obj_id

    tree = find_tree_by_obj_id(databases, HashInfo("md5", folder))
    return {"/".join(key): entry.value for key, _, entry in tree or ()}


@contextmanager
def working(sender: Connection) -> Iterator[None]:
    """Send None every second until the context ends: files are copied on this machine, which is progress too.

    Nothing else may be sent meanwhile.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(1):
            sender.send(None)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _heartbeat(sender: Connection) -> Any:
    """A callback of fsspec that sends None whenever bytes or a file have arrived."""
    from fsspec.callbacks import Callback

    class Heartbeat(Callback):
        def call(self, hook_name: str | None = None, **kwargs: Any) -> None:
            sender.send(None)

        def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Callback:
            return Heartbeat()

    return Heartbeat()


def saved(digests: Iterable[str]) -> set[str]:
    """Those of the MD5 that DVC's cache on this machine has; none where there is no repository of DVC."""
    wanted = set(digests)
    if not wanted:
        return set()
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        cache = Repo().cache.local
    except NotDvcRepoError:
        return set()
    return {digest for digest in wanted if cache.exists(digest)}


def restored(files: Mapping[Path, str], patience: float = PATIENCE) -> str | None:
    """Write each of the absent files whose bytes DVC's cache or its store has, by its MD5.

    Returns why some are still absent, or None. A repository without a store is no reason.
    """
    try:
        with process(_restore, dict(files)) as receiver:
            return next(received(receiver, patience), "the process that asked the store was killed") or None
    except KibanError as error:
        return str(error)


def _restore(files: dict[Path, str], sender: Connection) -> None:
    """Sends why some files are not written, or an empty text."""
    from dvc.config import NoRemoteError
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    problem = ""
    try:
        repo = Repo()
        try:
            if not brought(repo, set(files.values()), sender):
                problem = "the store lacks some of them"
        except NoRemoteError:
            pass
        except Exception as error:  # of DVC, the store or the network
            problem = f"{one_line(error)}; {advice(error)}"
        with working(sender):
            for path, digest in files.items():
                if repo.cache.local.exists(digest):
                    with whole(path) as beside:
                        shutil.copyfile(repo.cache.local.oid_to_path(digest), beside)
    except NotDvcRepoError:
        pass
    sender.send(problem)


def fetched(root: Path, wanted: Mapping[str, Collection[str]], patience: float) -> str | None:
    """Bring objects into the cache of the DVC repository in `root`, each by its MD5.

    Of one that lists a folder come also the files at the given paths in it, or all if none are given. Returns why some
    are still absent, or None.
    """
    try:
        with process(_fetch, root, {digest: list(names) for digest, names in wanted.items()}) as receiver:
            return next(received(receiver, patience), "the process that asked the store was killed") or None
    except KibanError as error:
        return str(error)


def _fetch(root: Path, wanted: dict[str, list[str]], sender: Connection) -> None:
    """Sends why some objects are not in the cache, or an empty text."""
    from dvc.config import NoRemoteError
    from dvc.repo import Repo

    try:
        repo = Repo(str(root))
        is_whole = _brought_singly(repo, wanted, sender)
        for folder, names in wanted.items():
            if folder.endswith(FOLDER):
                listed = content(folder, repo.cache.local)
                digests = {listed[name] for name in names or listed if name in listed}
                is_whole = _brought_singly(repo, digests, sender) and is_whole
        sender.send("" if is_whole else "it was never pushed to the store: run `kiban push` where it was made")
    except NoRemoteError:
        sender.send("no store is configured: `dvc remote add -d` names one")
    except Exception as error:  # of DVC, the store or the network
        sender.send(f"{one_line(error)}; {advice(error)}")


def _brought_singly(repo: Any, digests: Iterable[str], sender: Connection) -> bool:
    """Bring objects, without those that a folder's object lists. Returns whether the cache has them then."""
    from dvc_data.hashfile.hash_info import HashInfo

    cache = repo.cache.local
    if missing := {HashInfo("md5", digest) for digest in digests if not cache.exists(digest)}:
        store = repo.cloud.get_remote_odb()
        repo.cloud.transfer(
            store, cache, missing, shallow=True, verify=True, cache_odb=cache, callback=_heartbeat(sender)
        )
    return all(cache.exists(each.value) for each in missing)


def advice(error: Exception) -> str:
    """What the user can do about an error of a store or of the connection to it."""
    if package := re.search(r"dvc-(gs|azure|ssh)\b", str(error)):
        return f"`make STORE={package[1]}` installs it"
    if isinstance(error, PermissionError) or "redential" in str(error):
        return "check the credentials in the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of S3"
    return "check the path and the connection"
