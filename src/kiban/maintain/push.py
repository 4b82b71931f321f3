"""`dvc push` that ends, whatever the store does."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import NamedTuple

from kiban.core.errors import KibanError, one_line
from kiban.sources import stores


class Pushed(NamedTuple):
    """How many files were sent, and the outputs that the store has confirmed."""

    files: int
    outputs: list[str]


def push(remote: str | None, timeout: int) -> Pushed:
    """Send the data and models of this version to a DVC remote, the default one where `remote` is None.

    Raises KibanError, which names what the store has not confirmed, if that fails or takes longer than `timeout`
    seconds.
    """
    ends = time.monotonic() + timeout
    # When a server dies DVC repeats its requests for minutes, and only the end of its process stops it.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_push, args=(remote, sender), daemon=True)
    worker.start()
    sender.close()
    outputs: list[str] = []
    try:
        while receiver.poll(max(0, ends - time.monotonic())):
            kind, content = receiver.recv()
            match kind:
                case "outputs":
                    outputs = content
                case "pushed":
                    return Pushed(content, outputs)
                case _:
                    raise KibanError(f"{content}; {_unconfirmed(outputs)}")
        raise KibanError(f"not finished within {timeout} s (--timeout gives it longer); {_unconfirmed(outputs)}")
    except EOFError:
        raise KibanError(f"the process that pushed was ended; {_unconfirmed(outputs)}") from None
    finally:
        worker.kill()
        worker.join()


def _unconfirmed(outputs: list[str]) -> str:
    return f"not confirmed: {', '.join(outputs) or 'anything'}; push again, what has arrived is not sent twice"


def _push(remote: str | None, answers: Connection) -> None:
    """In a process of its own: tell the outputs, then how many files were sent, or why that failed."""
    from dvc.config import NoRemoteError
    from dvc.repo import Repo

    try:
        repo = Repo()
        outputs = [out for out in repo.index.outs if out.use_cache and out.hash_info]
        sizes = {str(out): f" ({out.meta.nfiles} files)" if out.meta.nfiles else "" for out in outputs}
        answers.send(("outputs", [f"{path}{size}" for path, size in sizes.items()]))
        sent = repo.push(remote=remote)
        # DVC counts it no failure that a file is neither here nor there.
        states = repo.status(cloud=True, remote=remote)
        absent = {str(out) for out in outputs if str(out) not in states and not out.cache.exists(out.hash_info.value)}
        lacking = sorted(absent | {path for path, state in states.items() if state != "deleted"})
        if lacking:
            paths = f"{', '.join(lacking[:5])}{', …' if len(lacking) > 5 else ''}"
            answers.send(("failed", f"the store has not got {paths}: if DVC's cache has lost it, run `dvc repro`"))
            return
        answers.send(("pushed", sent))
    except NoRemoteError:
        answers.send(("failed", "there is no remote yet: `dvc remote add -d store s3://BUCKET/PATH` adds one"))
    except Exception as error:  # DVC's, its store's and its network's
        answers.send(("failed", f"the push failed: {one_line(error)}; {stores.advice(error)}"))
