"""The control sockets of circus, BentoML's supervisor of processes."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

WORKER = "_bentoml_impl.worker.service"
LONGEST_FOLDER = 80  # characters; the path of a socket has at most 107


def make_private() -> None:
    """Put the control sockets into a folder that only the service's account can enter.

    BentoML opens them on TCP ports of the loopback interface, without authentication: any account of the machine could
    make the supervisor run a command as the service's account. BentoML has no option for this. So this function
    replaces the class of the supervisor before BentoML creates one. A worker has no supervisor and skips the import.
    """
    main = sys.modules["__main__"].__spec__
    if main is not None and main.name == WORKER:
        return
    from bentoml._internal.utils import circus

    bentoml_arbiter = circus.Arbiter

    def private_arbiter(watchers: Any, **options: Any) -> Any:
        parent = Path(tempfile.gettempdir())
        if len(str(parent)) > LONGEST_FOLDER:
            parent = Path("/tmp")  # noqa: S108  mkdtemp gives the folder in it a unique name
        folder = tempfile.mkdtemp(prefix="kiban-control-", dir=parent)  # of mode 0700
        endpoints = {"endpoint": f"ipc://{folder}/control", "pubsub_endpoint": f"ipc://{folder}/events"}
        arbiter = bentoml_arbiter(watchers, **{**options, **endpoints})
        arbiter.exit_stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return arbiter

    circus.Arbiter = private_arbiter
