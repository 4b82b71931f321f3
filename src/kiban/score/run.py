"""A table scored from file to file: checked, predicted, written whole or not at all."""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from kiban.core.errors import KibanError, one_line
from kiban.score.read import Input, opened
from kiban.score.score import output_schema, scored
from kiban.score.write import rejected_writer, table_writer, whole
from kiban.servable.load import Servable


@dataclass
class Counts:
    """Rows that were scored, those of them that are labelled true, rows that were rejected, unusual values by feature.

    `absent` are the features that the table has no column of.
    """

    rows: int = 0
    positive: int = 0
    rejected: int = 0
    unusual: Counter[str] = field(default_factory=Counter)
    absent: list[str] = field(default_factory=list)


def rejected_path(target: str) -> str:
    """Where the rejected rows of the output `target` go."""
    return f"{target}.rejected.csv"


def score_file(source: str, target: str, servable: Servable, skip: bool) -> Counts:
    """Write the table at `source` with the model's predictions to `target`, whole or not at all.

    With `skip` the rows that the contract rejects go to `rejected_path`, else the first of them is a KibanError. Raises
    KibanError too if a name does not say a format, or would be overwritten, or a file cannot be read or written.
    """
    if not target.endswith((".csv", ".parquet")):
        raise KibanError(f"{target}: a name must end with .csv or .parquet")
    rejected = rejected_path(target)
    for written in (target, rejected):
        if Path(written).resolve() == Path(source).resolve():
            raise KibanError(f"{source} would be overwritten: give OUTPUT another name")
    with opened(source) as table:
        try:
            counts = _write(table, servable, source, target, rejected, skip)
        except (pa.ArrowException, OverflowError) as error:  # a value that Arrow, or Python, has no form for
            raise KibanError(f"{source}: a column cannot be written to {target}: {one_line(error)}") from None
        counts.absent = [name for name in servable.contract.features() if name not in table.schema.names]
    return counts


def _write(table: Input, servable: Servable, source: str, target: str, rejected: str, skip: bool) -> Counts:
    counts = Counts()
    is_csv = target.endswith(".csv")
    schema = output_schema(table, servable, source, is_csv)
    console = Console(stderr=True)
    shown = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with ExitStack() as stack:
        # What is entered last ends first: OUTPUT is in its place only when what was rejected is.
        file = stack.enter_context(whole(target))
        side = stack.enter_context(whole(rejected)) if skip else None
        reject = stack.enter_context(rejected_writer(side, table.schema.names)) if side else None
        rows = stack.enter_context(table_writer(file, schema, is_csv))
        progress = stack.enter_context(Progress(*shown, console=console, disable=not console.is_terminal))
        task = progress.add_task("score", total=table.size)
        for piece in scored(table, servable, schema):
            for row in piece.rejected:
                if reject is None:
                    raise KibanError(
                        f"{source}, row {row.row}: {row.problem}. Nothing was written: mend it, or have such rows put "
                        f"into {rejected} by --on-error skip"
                    )
                reject(row)
            rows.write_table(piece.rows)
            counts.rows += piece.rows.num_rows
            counts.positive += piece.positive
            counts.rejected += len(piece.rejected)
            counts.unusual += piece.unusual
            progress.update(task, completed=piece.done, description=f"score: {counts.rows:,} rows")
    return counts
