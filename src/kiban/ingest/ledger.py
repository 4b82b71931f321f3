"""The ledger: the list of batches that we have. It is the lock file of the data and is in git.

Only `kiban ingest` writes it. The stage ingest makes data/raw match it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.core.settings import parse

HEADER = "# Which batches we have; `kiban ingest --new` takes what the source has beyond. Do not edit.\n"


class Entry(BaseModel):
    """A snapshot of one batch: its number of rows, the size and SHA-256 of its Parquet file, its source, and the time
    (UTC) at which it was taken. `md5` is the name by which DVC's cache and store know the file.

    `left_out` is why no model learns from the batch, or is measured by it. `accepted` is why the batch is right
    although it differs from earlier ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    bytes: int | None = None  # ledgers of the first version have none
    sha256: str
    md5: str | None = None  # ledgers before releases have none
    source: str
    taken_at: str
    left_out: str | None = None
    accepted: str | None = None


def entry_of(path: Path, rows: int, source: str, now: datetime | None = None) -> Entry:
    """The entry of the snapshot at `path`, taken at the time `now`, or at this moment."""
    return Entry(
        rows=rows,
        bytes=path.stat().st_size,
        sha256=files.sha256(path),
        md5=files.md5(path),
        source=source,
        taken_at=(now or datetime.now(UTC)).isoformat(timespec="seconds"),
    )


Name = Annotated[str, StringConstraints(pattern=r"^[^/.\x00][^/\x00]*$")]
"""A name of a table or a batch, which is that of a folder or a file: it leads to no other place."""

Ledger = dict[Name, dict[Name, Entry]]
"""Entries by table and batch."""


def read(path: Path) -> Ledger:
    """The ledger at `path`, or an empty ledger if there is no file. Raises KibanError if the file is not a ledger."""
    return parse_ledger(path.read_bytes(), str(path)) if path.exists() else {}


def parse_ledger(content: bytes, where: str) -> Ledger:
    """The ledger in the content of a file that error messages call `where`. Raises KibanError if it is not a ledger."""
    return parse(content or b"{}", TypeAdapter(Ledger), where, "restore it with `git checkout`")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let nobody else read or write the ledger at `path`, and the files that it tells of, until the context ends.

    Waits for another process that is at it, and says so on standard error.
    """
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"another process takes batches into {path}: waiting until it has ended", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def left_out(ledger: Ledger) -> dict[str, str]:
    """Why each batch is left out that is."""
    entries = (each for of_table in ledger.values() for each in sorted(of_table.items()))
    return {batch: entry.left_out for batch, entry in entries if entry.left_out}


def leave_out(ledger: Ledger, batch: str, reason: str | None) -> None:
    """Leave a batch out for a reason, in every table that has it, or no longer.

    Raises KibanError if no table has it, or if it is not left out.
    """
    tables = [table for table, entries in ledger.items() if batch in entries]
    if not tables:
        raise KibanError(f"the ledger has no batch {batch}: `kiban data` lists what it has")
    if reason is None and not any(ledger[table][batch].left_out for table in tables):
        raise KibanError(f"batch {batch} is not left out: `kiban data` says what is")
    for table in tables:
        ledger[table][batch] = ledger[table][batch].model_copy(update={"left_out": reason})


def write(path: Path, ledger: Ledger) -> None:
    """Write the ledger, sorted, whole or not at all."""
    content = {
        table: {batch: entry.model_dump(exclude_none=True) for batch, entry in sorted(ledger[table].items())}
        for table in sorted(ledger)
    }
    text = HEADER + yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, width=200)
    files.write(path, text.encode())
