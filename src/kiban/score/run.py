"""Scoring a table from file to file: rows are checked and predicted, and OUTPUT is written whole or not at all."""

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from kiban.core.errors import KibanError, one_line
from kiban.request import logged
from kiban.score.read import Input, opened
from kiban.score.score import output_schema, scored
from kiban.score.write import rejected_writer, table_writer, whole
from kiban.servable.load import Servable


@dataclass
class Counts:
    """The numbers of rows scored, by label, and rejected, and the number of unusual values by feature.

    `absent` are the features without a column in the table.
    """

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    unusual: Counter[str] = field(default_factory=Counter)
    absent: list[str] = field(default_factory=list)


def rejected_path(target: str) -> str:
    """The path of the rejected rows for the output `target`."""
    return f"{target}.rejected.csv"


def score_file(source: str, target: str, servable: Servable, skip: bool, log: Path | None = None) -> Counts:
    """Write the table at `source` with the model's predictions to `target`, whole or not at all.

    With `log`, the folder of the prediction log, the predictions are written there too.

    With `skip` the rows that the contract rejects are written to `rejected_path`; without, the first of them raises
    KibanError. Raises KibanError also if a name has no known suffix, if `source` would be overwritten, or if a file
    cannot be read or written.
    """
    if not target.endswith((".csv", ".parquet")):
        raise KibanError(f"{target}: a name must end with .csv or .parquet")
    rejected = rejected_path(target)
    for output in (target, rejected):
        if Path(output).resolve() == Path(source).resolve():
            raise KibanError(f"{source} would be overwritten: give OUTPUT another name")
    with opened(source, servable.contract.written) as table:
        try:
            counts = _write(table, servable, source, target, rejected, skip, log)
        except (pa.ArrowException, OverflowError) as error:  # a value that Arrow or Python cannot represent
            raise KibanError(f"{source}: a column cannot be written to {target}: {one_line(error)}") from None
        counts.absent = [name for name in servable.contract.features() if name not in table.schema.names]
    return counts


@contextmanager
def log_file(folder: Path) -> Iterator[BinaryIO]:
    """A new file of the prediction log, which this account alone may read. Raises KibanError if it cannot be made."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KibanError(f"{folder}: {error.strerror}") from None
    with whole(str(folder / logged.file_name(datetime.now(UTC)))) as path:
        path.touch(mode=0o600)
        with path.open("wb") as file:
            yield file


def _write(
    table: Input, servable: Servable, source: str, target: str, rejected: str, skip: bool, log: Path | None
) -> Counts:
    counts = Counts()
    run = None if log is None else f"score-{secrets.token_hex(8)}"
    is_csv = target.endswith(".csv")
    schema = output_schema(table, servable, source, is_csv)
    console = Console(stderr=True)
    bar_columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with ExitStack() as stack:
        # Contexts end in reverse order: OUTPUT appears only after the file of rejected rows, and is logged only then.
        lines = stack.enter_context(log_file(log)) if log else None
        file = stack.enter_context(whole(target))
        rejected_file = stack.enter_context(whole(rejected)) if skip else None
        reject = stack.enter_context(rejected_writer(rejected_file, table.schema.names)) if rejected_file else None
        rows = stack.enter_context(table_writer(file, schema, is_csv))
        progress = stack.enter_context(Progress(*bar_columns, console=console, disable=not console.is_terminal))
        task = progress.add_task("score", total=table.size)
        for piece in scored(table, servable, schema, run):
            for row in piece.rejected:
                if reject is None:
                    raise KibanError(
                        f"{source}, row {row.row}: {row.problem}. Nothing was written: correct the row, or use "
                        f"--on-error skip to put such rows into {rejected}"
                    )
                reject(row)
            rows.write_table(piece.rows)
            if lines:
                lines.write(piece.logged)
            counts.rows += piece.rows.num_rows
            counts.labels += piece.labels
            counts.rejected += len(piece.rejected)
            counts.unusual += piece.unusual
            progress.update(task, completed=piece.done, description=f"score: {counts.rows:,} rows")
    return counts
