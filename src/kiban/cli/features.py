"""`kiban features`: computes the features of new rows in the same way as those of the training rows."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kiban.cli.places import Place, from_root
from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, read
from kiban.data import contract
from kiban.data.batches import STATIC
from kiban.sources.settings import Dataset

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".parquet")


class Params(Sections):
    dataset: Dataset


@click.command()
@click.argument("raw", nargs=-1, metavar="[TABLE=PATH]...")
@click.option(
    "--for",
    "rows_path",
    type=Place(),
    metavar="PATH",
    help="The new rows, with the columns of the raw table.",
)
@click.option(
    "--example",
    type=Place(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write a CSV file of a few recent rows to try this command with, and do nothing else.",
)
@click.option(
    "-o",
    "--output",
    type=Place(dir_okay=False, path_type=Path),
    help="Write a table with key and features to this file (.csv or .parquet), and print no request.",
)
def features(raw: tuple[str, ...], rows_path: str | None, example: Path | None, output: Path | None) -> None:
    """Compute the features of new rows from recent raw rows, and print a request to the model about the new rows.

    Recent rows of a table come from TABLE=PATH (CSV or Parquet, with * for several files), or else from data/raw. A
    value of a new row that is not known yet is null, or its column is absent. The output is sorted by the prepared
    table's key.

    \b
    Examples:
      kiban features weather=recent/weather.csv --for upcoming.csv > request.json
      kiban features --example upcoming.csv
      kiban features --for upcoming.csv -o upcoming.parquet
    """
    from kiban.data import pieces
    from kiban.request import new_rows
    from kiban.sources.by_glob import Files
    from kiban.sources.kinds import Opened

    if output and output.suffix not in SUFFIXES:
        raise KibanError(f"--output {output}: a name must end with {' or '.join(SUFFIXES)}")
    params = read(Params)
    dataset = params.dataset
    if example:
        _write(new_rows.example(dataset), example, "--example")
        print(f"{example}: for these rows, `kiban features --for {example}` prints a request")
        return
    if rows_path is None:
        raise click.UsageError("give the new rows by --for PATH, or make some by --example PATH")
    tables = contract.read_raw(paths.raw_contract(dataset.name))
    recent_paths = _paths(raw, list(tables))

    def read_as(table: str, path: str) -> "pa.Table":
        return pieces.joined(Opened(Files(path), dataset.tables[table].source.missing).read(STATIC, None), path)

    rows = read_as(new_rows.table_asked_about(dataset), rows_path)
    recent = {table: read_as(table, path) for table, path in recent_paths.items()}
    recent |= new_rows.recent_rows(dataset, rows, [table for table in tables if table not in recent_paths])
    rows_for_model = new_rows.features(dataset, rows, recent)
    prepared = contract.prepared_of(dataset.name)
    if output:
        columns = [*prepared.key, *(name for name in prepared.features() if name not in prepared.key)]
        _write(rows_for_model.select(columns), output, "--output")
    else:
        import json

        records = rows_for_model.select([*prepared.keys(), *prepared.features()]).to_pylist()
        print(json.dumps({"records": records}, ensure_ascii=False, default=lambda moment: moment.isoformat()))
    unknown = new_rows.null_throughout(rows_for_model)
    if unknown:
        click.echo(f"warning: every row has null for {', '.join(unknown)}: are recent rows missing?", err=True)


def _paths(raw: tuple[str, ...], tables: list[str]) -> dict[str, str]:
    """The path of each table. Raises KibanError if an argument is not TABLE=PATH."""
    by_table: dict[str, str] = {}
    for argument in raw:
        table, equals, path = argument.partition("=")
        if not (equals and path and table in tables) or table in by_table:
            raise KibanError(f"{argument!r} is not TABLE=PATH, once for each of the tables {', '.join(tables)}")
        by_table[table] = from_root(path)
    return by_table


def _write(rows: "pa.Table", path: Path, option: str) -> None:
    """Write the rows as Parquet or else as CSV, by the suffix of the path, whole or not at all.

    Raises KibanError, which starts with the option that gave the path, if that fails.
    """
    import io

    from pyarrow import csv

    from kiban.data import parquet

    if not path.parent.is_dir():
        raise KibanError(f"{option} {path}: No such file or directory")
    try:
        if path.suffix == ".parquet":
            parquet.write(rows, path)
        else:
            buffer = io.BytesIO()
            csv.write_csv(rows, buffer)
            files.write(path, buffer.getvalue())
    except OSError as error:
        raise KibanError(f"{option} {path}: {error.strerror}") from None
