"""`dvc push` with a time limit, which ends even if the store does not answer."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import NamedTuple

from kiban.core.errors import KibanError, one_line
from kiban.sources import stores


class Pushed(NamedTuple):
    """The number of files that were sent, and the outputs that the store has confirmed."""

    files: int
    outputs: list[str]


def push(remote: str | None, timeout: int) -> Pushed:
    """Send the data and models of this version to a DVC remote, the default remote if `remote` is None.

    Raises KibanError, which names the outputs that are not confirmed, if the push fails or takes longer than `timeout`
    seconds.
    """
    deadline = time.monotonic() + timeout
    # If a server dies, DVC repeats its requests for minutes. Only killing its process stops it.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_push, args=(remote, sender), daemon=True)
    worker.start()
    sender.close()
    outputs: list[str] = []
    try:
        while receiver.poll(max(0, deadline - time.monotonic())):
            kind, content = receiver.recv()
            match kind:
                case "outputs":
                    outputs = content
                case "pushed":
                    return Pushed(content, outputs)
                case _:
                    raise KibanError(f"{content}; {_unconfirmed(outputs)}")
        raise KibanError(f"not finished within {timeout} s (--timeout allows more); {_unconfirmed(outputs)}")
    except EOFError:
        raise KibanError(f"the process that pushed was killed; {_unconfirmed(outputs)}") from None
    finally:
        worker.kill()
        worker.join()


def _unconfirmed(outputs: list[str]) -> str:
    return f"not confirmed: {', '.join(outputs) or 'anything'}; push again: files that have arrived are not sent twice"


def _push(remote: str | None, answers: Connection) -> None:
    """Push in a separate process. Sends the outputs to `answers`, then the number of files or the reason of failure."""
    from dvc.config import NoRemoteError
    from dvc.repo import Repo

    try:
        repo = Repo()
        outputs = [output for output in repo.index.outs if output.use_cache and output.hash_info]
        sizes = {str(output): f" ({output.meta.nfiles} files)" if output.meta.nfiles else "" for output in outputs}
        answers.send(("outputs", [f"{path}{size}" for path, size in sizes.items()]))
        sent = repo.push(remote=remote)
        # DVC does not report a file that is missing both here and in the store as a failure.
        states = repo.status(cloud=True, remote=remote)
        absent = {
            str(output)
            for output in outputs
            if str(output) not in states and not output.cache.exists(output.hash_info.value)
        }
        lacking = sorted(absent | {path for path, state in states.items() if state != "deleted"})
        if lacking:
            paths = f"{', '.join(lacking[:5])}{', …' if len(lacking) > 5 else ''}"
            answers.send(("failed", f"the store lacks {paths}: if DVC's cache lacks it too, run `dvc repro`"))
            return
        answers.send(("pushed", sent))
    except NoRemoteError:
        answers.send(("failed", "there is no remote yet: `dvc remote add -d store s3://BUCKET/PATH` adds one"))
    except Exception as error:  # of DVC, the store or the network
        answers.send(("failed", f"the push failed: {one_line(error)}; {stores.advice(error)}"))
