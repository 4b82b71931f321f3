"""`kiban score`: a table with the model's predictions, made in pieces, as the endpoint would make them."""

import signal
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kiban.core import paths
from kiban.core.errors import KibanError, one_line

if TYPE_CHECKING:
    from kiban.score.read import Input
    from kiban.servable.load import Servable


@dataclass
class Counts:
    rows: int = 0
    positive: int = 0
    rejected: int = 0
    unusual: Counter[str] = field(default_factory=Counter)


@click.command()
@click.argument("source", metavar="INPUT")
@click.argument("target", metavar="OUTPUT")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="A row that the model's contract rejects: write nothing, or leave it out and put it, with the reason, into "
    "OUTPUT.rejected.csv.",
)
@click.option(
    "--servable",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=paths.SERVABLE,
    show_default=True,
    help="The folder of the model.",
)
def score(source: str, target: str, on_error: str, folder: Path) -> None:
    """Write INPUT with the model's predictions to OUTPUT: its columns, then probability, label and model_id.

    Both are CSV or Parquet, here or on S3 (s3://BUCKET/PATH). Rows are checked as the endpoint checks them. Columns
    that the model does not know are carried over; those of its own that may be null may be absent. OUTPUT is written
    whole or not at all.

    \b
    Examples:
      kiban score flights.parquet scored.parquet
      kiban score s3://bucket/flights.csv scored.csv --on-error skip
    """
    import pyarrow as pa

    from kiban.score.read import opened
    from kiban.servable.load import load
    from kiban.sources import stores

    if not target.endswith((".csv", ".parquet")):
        raise KibanError(f"{target}: a name must end with .csv or .parquet")
    rejected = f"{target}.rejected.csv"
    for written in (target, rejected):
        if Path(written).resolve() == Path(source).resolve():
            raise KibanError(f"{source} would be overwritten: give OUTPUT another name")
    for asked_to_end in (signal.SIGTERM, signal.SIGHUP):  # so that what is half written is removed
        signal.signal(asked_to_end, lambda number, _: sys.exit(128 + number))
    servable = load(folder)
    with opened(source) as found:
        try:
            counts = _write(found, servable, source, target, rejected, skip=on_error == "skip")
        except (pa.ArrowException, OverflowError) as error:  # a value that Arrow, or Python, has no form for
            raise KibanError(f"{source}: a column cannot be written to {target}: {one_line(error)}") from None
        absent = [name for name in servable.contract.features() if name not in found.schema.names]
    if absent:
        click.echo(f"no column, so null in every row: {', '.join(absent)}", err=True)
    for name, number in counts.unusual.items():
        click.echo(f"warning: {number:,} values of {name} are outside what the contract expects", err=True)
    share = f", {counts.positive / counts.rows:.1%} labelled true" if counts.rows else ""
    print(f"score: {counts.rows:,} rows by model {servable.model_id[:12]}{share}: {target}")
    if on_error == "skip":
        print(f"score: {counts.rejected:,} rows rejected: {rejected}")
    elif stores.system(rejected).exists(rejected):
        click.echo(f"warning: {rejected} is what an earlier run has rejected", err=True)


def _write(found: "Input", servable: "Servable", source: str, target: str, rejected: str, skip: bool) -> Counts:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from kiban.score.score import output_schema, scored
    from kiban.score.write import rejected_writer, table_writer, whole

    counts = Counts()
    is_csv = target.endswith(".csv")
    schema = output_schema(found, servable, source, is_csv)
    console = Console(stderr=True)
    shown = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with ExitStack() as stack:
        # What is entered last ends first: OUTPUT is in its place only when what was rejected is.
        file = stack.enter_context(whole(target))
        side = stack.enter_context(whole(rejected)) if skip else None
        reject = stack.enter_context(rejected_writer(side, found.schema.names)) if side else None
        rows = stack.enter_context(table_writer(file, schema, is_csv))
        progress = stack.enter_context(Progress(*shown, console=console, disable=not console.is_terminal))
        task = progress.add_task("score", total=found.size)
        for piece in scored(found, servable, schema):
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
