"""`kiban add`: a later file of a table, as batches of its own."""

from typing import TYPE_CHECKING

import click

from kiban.cli.places import Place
from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, read
from kiban.data import contract
from kiban.data.split import Split
from kiban.ingest import ledger
from kiban.sources.settings import Dataset

if TYPE_CHECKING:
    from kiban.profile.later import Later


class Params(Sections):
    dataset: Dataset
    split: Split


@click.command()
@click.argument("data", metavar="DATA", type=Place())
@click.option("--replace", is_flag=True, help="Take rows whose key is there with other values, as corrections.")
@click.option("--drop", metavar="COLUMN", multiple=True, help="A column of the file that is not taken.")
@click.option("--dry-run", is_flag=True, help="Tell what is new, and take nothing.")
def add(data: str, replace: bool, drop: tuple[str, ...], dry_run: bool) -> None:
    """Take the rows of a later file that are new, as a batch of their own.

    The table is that of `kiban init`, and the file is read as that was. Rows that are there already are counted, not
    taken twice, so that a file with all rows up to now does. A file that does not fit the contract is refused, with the
    edit that would take it.

    \b
    Examples:
      kiban add customers-march.csv
      kiban add corrections.csv --replace
    """
    from kiban.profile.later import later
    from kiban.profile.take import take_later

    params = read(Params)
    name = params.dataset.name
    tables = contract.read_raw(paths.raw_contract(name))
    if set(params.dataset.tables) != {name} or not params.dataset.tables[name].source.target.endswith(".Given"):
        raise KibanError(
            f"{name} was not made by `kiban init` from a file: `kiban ingest --new` takes its new batches, and "
            "`--refresh static` the rows of a query anew"
        )
    table, path = tables[name], paths.ledger(name)
    if replace and table.key == [contract.ROW_HASH]:
        raise KibanError(f"--replace: {paths.raw_contract(name)} names no key, so that no row is known again")
    with ledger.locked(path):
        recorded = ledger.read(path).get(name, {})
        if not recorded:
            raise KibanError(f"{path} has no batch of {name}: run `kiban init` first")
        found = later(data, name, table, params.dataset.timezone, recorded, replace, drop)
        _show(found, params, table)
        if found.rows and not dry_run:
            take_later(found, name, data)
            print("Next: dvc repro")


def _show(found: "Later", params: Params, table: contract.Table) -> None:
    """Print what is new, and where its rows go."""
    from kiban.core.text import plain
    from kiban.profile.batches import counts

    new = sum(rows.num_rows for rows in found.rows.values())
    replaced = f", {found.replaced:,} of them in the place of rows with their key" if found.replaced else ""
    print(f"{found.of_file:,} rows: {found.there:,} are there already, {new:,} are new{replaced}")
    for batch, rows in found.rows.items():
        print(f"batch {batch}: {rows.num_rows:,} rows")
    for note in found.notes:
        print(f"warning: {plain(note)}")
    if found.rows:
        print(counts(params.split, found.rows, table))
