"""DuckDB within the memory that a command may use: what does not fit is put on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kiban.core import memory

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


def quoted(*names: str) -> str:
    """The names of columns in SQL, separated by commas."""
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)
