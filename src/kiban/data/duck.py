"""DuckDB within the memory that a command may use: what does not fit is put on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kiban.core import memory
from kiban.core.errors import KibanError, one_line

if TYPE_CHECKING:
    import duckdb

SHARE = 0.5
"""Of the memory, for DuckDB. Python, Arrow, and what DuckDB does not count, need the rest."""


def set_up(scratch: Path | None) -> str:
    """The SQL that sets up a session, whose local time is UTC.

    What does not fit into memory is put into the folder `scratch`; without one it does not fit.
    """
    limit, folder = int(memory.available() * SHARE / 1e6), str(scratch.absolute() if scratch else "").replace("'", "''")
    return f"SET TimeZone = 'UTC'; SET memory_limit = '{limit}MB'; SET temp_directory = '{folder}'"


@contextmanager
def connected(scratch: Path) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A new session in memory."""
    import duckdb  # the import takes a while

    with duckdb.connect() as session:
        session.execute(set_up(scratch))
        yield session


@contextmanager
def explained(what: str, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise KibanError, which starts with `what`, in the place of what DuckDB raises, or of one of `also`.

    DuckDB raises OSError too, while its rows are streamed.
    """
    import duckdb

    failures: tuple[type[Exception], ...] = (duckdb.Error, OSError, *also)
    try:
        yield
    except failures as error:
        reason = one_line(error)
        if "Out of Memory" in reason:
            reason = f"they do not fit into the memory that there is: take smaller batches, or set {memory.VARIABLE}"
        raise KibanError(f"{what}: {reason}") from None


def quoted(*names: str) -> str:
    """The names of columns in SQL, separated by commas."""
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)
