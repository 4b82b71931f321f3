"""`dvc push` with a time limit, which ends even if the store does not answer, and what the store lacks after it."""

import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, Literal, NamedTuple

from kiban.core import lock, store, tombstones
from kiban.core.errors import KibanError, one_line
from kiban.core.git import commit_of
from kiban.core.store import advice, process

SHOWN = 5
"""Paths that a message names."""
NO_REMOTE = "there is no remote yet: `dvc remote add -d store s3://BUCKET/PATH` adds one"


class Pushed(NamedTuple):
    """The number of files that were sent, and the outputs that the store has confirmed."""

    files: int
    outputs: list[str]


class Answer(NamedTuple):
    """Whether the store has what a version names, in a word and in a sentence."""

    state: Literal["pushed", "not pushed", "not checked"]
    sentence: str

    @property
    def line(self) -> str:
        return f"{self.state}: {self.sentence}"


def push(remote: str | None, timeout: int, stage: str | None = None) -> Pushed:
    """Send the data and models of this version, or only what one stage makes, to a DVC remote, the default remote if
    `remote` is None.

    Raises KibanError, which names the outputs that are not confirmed, if the push fails or takes longer than `timeout`
    seconds.
    """
    deadline = time.monotonic() + timeout
    outputs: dict[str, str] = {}
    try:
        with process(_push, remote, stage) as receiver:
            while receiver.poll(max(0, deadline - time.monotonic())):
                kind, content = receiver.recv()
                match kind:
                    case "outputs":
                        outputs = content
                    case "pushed":
                        return Pushed(content, _confirmed(outputs, remote, deadline))
                    case _:
                        raise KibanError(f"{content}; {_unconfirmed(outputs)}")
        raise KibanError(f"not finished within {timeout} s (--timeout allows more); {_unconfirmed(outputs)}")
    except EOFError:
        raise KibanError(f"the process that pushed was killed; {_unconfirmed(outputs)}") from None


def check(commit: str | None, remote: str | None, timeout: float) -> Answer:
    """Whether a DVC remote, the default remote if `remote` is None, has all that a commit or the working tree names.

    There are three answers: it has, it lacks some paths, or it could not be asked within `timeout` seconds, with the
    reason. Raises KibanError as `core.lock.outputs` does.
    """
    where = f"dvc.lock of {commit[:7]}" if commit else "dvc.lock"
    lacking, problem = _asked(lock.outputs(commit), remote, timeout)
    if problem:
        return Answer("not checked", f"whether the store has what {where} names; {problem}")
    if lacking:
        first = "check it out, then " if commit and commit != commit_of("HEAD") else ""
        return Answer("not pushed", f"{in_short(lacking)} of {where}; {first}run `kiban push`")
    return Answer("pushed", f"the store has all that {where} names")


def _asked(named: Mapping[str, str], remote: str | None, timeout: float) -> tuple[list[str], str | None]:
    """The paths that a remote lacks, of outputs by their paths, and why it could not be asked."""
    with process(_lacking, named, remote) as receiver:
        if not receiver.poll(timeout):
            return [], f"the store has not answered within {timeout:.0f} s"
        try:
            found: tuple[list[str], str | None] = receiver.recv()
        except EOFError:
            return [], "the process that asked the store was killed"
    return found


def _lacking(named: Mapping[str, str], remote: str | None, sender: Connection) -> None:
    """Sends the paths of what a remote lacks, and why it could not be asked."""
    from dvc.config import NoRemoteError
    from dvc.repo import Repo

    try:
        repo = Repo()
        remote_store = repo.cloud.get_remote_odb(remote)
        hashes, erased = dict(named), tombstones.dates(tombstones.read())
        for path, digest in named.items():
            if digest.endswith(store.FOLDER):
                listed = store.content(digest, repo.cache.local, remote_store)
                hashes |= {f"{path}/{name}": file for name, file in listed.items()}
        hashes = {path: digest for path, digest in hashes.items() if digest not in erased}
        there = set(remote_store.oids_exist(sorted(set(hashes.values()))))
        absent = {path for path, digest in hashes.items() if digest not in there}
        # Of a folder that is absent itself, its files say nothing more.
        sender.send(
            (sorted(path for path in absent if not any(path.startswith(f"{folder}/") for folder in absent)), None)
        )
    except NoRemoteError:
        sender.send(([], NO_REMOTE))
    except Exception as error:  # of DVC, the store or the network
        sender.send(([], f"{one_line(error)}; {advice(error)}"))


def in_short(paths: list[str]) -> str:
    """The first few of the paths, for a message."""
    return f"{', '.join(paths[:SHOWN])}{f' and {len(paths) - SHOWN} more' if len(paths) > SHOWN else ''}"


def _confirmed(outputs: Mapping[str, str], remote: str | None, deadline: float) -> list[str]:
    """The outputs, if the store has all that they are made of. Raises KibanError if not, or if it cannot be asked."""
    named = {path: digest for path, digest in lock.outputs(None).items() if path in outputs}
    lacking, problem = _asked(named, remote, max(1, deadline - time.monotonic()))
    if problem:
        raise KibanError(f"{problem}; {_unconfirmed(outputs)}")
    if lacking:
        raise KibanError(f"the store lacks {in_short(lacking)}: if DVC's cache lacks it too, run `dvc repro`")
    return list(outputs.values())


def _unconfirmed(outputs: Mapping[str, str]) -> str:
    names = ", ".join(outputs.values()) or "anything"
    return f"not confirmed: {names}; push again: files that have arrived are not sent twice"


def _push(remote: str | None, stage: str | None, answers: Connection) -> None:
    """Push in a separate process. Sends the outputs to `answers`, then the number of files or the reason of failure."""
    from dvc.config import NoRemoteError
    from dvc.repo import Repo

    try:
        repo = Repo()
        of_stage = [output for output in repo.index.outs if stage in (None, output.stage.addressing)]
        outputs = [output for output in of_stage if output.use_cache and output.hash_info]
        sizes = {str(output): f" ({output.meta.nfiles} files)" if output.meta.nfiles else "" for output in outputs}
        answers.send(("outputs", {path: f"{path}{size}" for path, size in sizes.items()}))
        tombstones.check(_files(outputs))
        sent = repo.push(stage, remote=remote) if outputs else 0
        answers.send(("pushed", sent + _sent_again(repo, outputs, remote)))
    except NoRemoteError:
        answers.send(("failed", NO_REMOTE))
    except KibanError as error:
        answers.send(("failed", str(error)))
    except Exception as error:  # of DVC, the store or the network
        answers.send(("failed", f"the push failed: {one_line(error)}; {advice(error)}"))


def _files(outputs: list[Any]) -> set[str]:
    """The MD5 of the outputs' files."""
    whole = {output.hash_info.value for output in outputs if not output.hash_info.isdir}
    return whole | {entry.value for entry in _listed(outputs)}


def _listed(outputs: list[Any]) -> set[Any]:
    """The hashes of the files in those of the outputs that are folders."""
    return {entry for output in outputs if output.hash_info.isdir for _, _, entry in (output.get_obj() or ()) if entry}


def _sent_again(repo: Any, outputs: list[Any], remote: str | None) -> int:
    """The number of files that were sent because a store has the list of a folder, and not all that it lists.

    `dvc push` takes a folder for complete when the store has its list.
    """
    to = repo.cloud.get_remote(remote)
    if to.fs.version_aware or to.worktree:  # it keeps files by their paths
        return 0
    return len(repo.cloud.transfer(repo.cache.local, to.odb, _listed(outputs)).transferred)
