"""A servable tried in a process of its own, with a limit of time and of memory.

A model is made by others: it may run without end, take all memory, or crash the process that asks it. Whoever tries it
here first is told in a sentence, and goes on.
"""

import importlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import kiban
from kiban.core.errors import KibanError, exit_on_error, one_line
from kiban.servable import manifest
from kiban.servable.columns import from_records
from kiban.servable.load import load

SOURCE = Path(kiban.__file__).parents[1]
ENGINES = {"onnx": "onnxruntime", "skops": "kiban.servable.skops_file"}
"""What a format is loaded with."""


def attempt(folder: Path, seconds: float, extra_bytes: int) -> None:
    """Load the servable in `folder` elsewhere, and have it answer about its own example.

    Raises KibanError if it does not within `seconds`, or not with `extra_bytes` of memory beside its files and what is
    imported.
    """
    command = [sys.executable, "-m", __name__, str(folder), str(seconds), str(extra_bytes)]
    paths = (str(SOURCE), os.environ.get("PYTHONPATH"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    try:
        tried = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise KibanError(f"{folder}: the model did not answer about its own example in {seconds:g} seconds") from None
    if tried.returncode < 0:
        ended_by = signal.Signals(-tried.returncode).name
        raise KibanError(f"{folder}: the model crashed the process that tried it ({ended_by})")
    if tried.returncode:
        reason = tried.stderr.strip().rpartition("\n")[2].removeprefix("error: ")
        raise KibanError(one_line(reason) or f"{folder}: the model cannot be tried")


def main() -> None:
    """In the process of its own: `FOLDER SECONDS BYTES`."""
    folder, seconds, extra_bytes = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    signal.alarm(int(seconds) + 1)  # whatever becomes of the process that waits
    described = manifest.read_checked(folder).manifest
    importlib.import_module(ENGINES[described.format])  # which is no matter of the model's memory
    _limit_memory(folder, extra_bytes)
    try:
        servable = load(folder)
        features = servable.contract.features()
        required = {name: None if features[name].nullable else value for name, value in described.example.items()}
        for record in (described.example, required):  # as the service asks it, too, before it answers
            servable.score(from_records([record], features))
    except KibanError:
        raise
    except MemoryError:
        raise KibanError(f"{folder}: the model takes more memory than its files and {extra_bytes:,} bytes") from None
    except Exception as error:  # the engines' errors share no base class
        raise KibanError(f"{folder}: the model cannot answer about its own example: {one_line(error)}") from None


def _limit_memory(folder: Path, extra_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.exists():  # elsewhere than on Linux the limit of time is the only one
        now = resource.getpagesize() * int(pages.read_text().split()[0])
        most = now + sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) + extra_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    exit_on_error(main)
