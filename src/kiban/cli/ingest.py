"""`kiban ingest`: take new batches into the ledger."""

import click

from kiban import contract, ledger
from kiban.batches import STATIC, bounds
from kiban.errors import KibanError
from kiban.settings.base import Sections, read
from kiban.settings.dataset import Dataset
from kiban.sources import open_source, take


class Params(Sections):
    dataset: Dataset


@click.command()
@click.option(
    "--new",
    is_flag=True,
    required=True,
    expose_value=False,
    help="Take every batch that the source has and the ledger has not.",
)
def ingest() -> None:
    """Take snapshots of batches from their source and record them in the ledger."""
    from rich.console import Console
    from rich.progress import track

    dataset = read(Params).dataset
    tables = contract.read_raw(contract.raw_path(dataset.name))
    path = ledger.ledger_path(dataset.name)
    recorded = ledger.read(path)
    console = Console(stderr=True)
    taken: list[str] = []
    for name, settings in dataset.tables.items():
        if name not in tables:
            raise KibanError(f"{contract.raw_path(dataset.name)}: there is no table {name!r}, which conf/dataset has")
        entries = recorded.setdefault(name, {})
        source = open_source(settings.source)
        beyond = [batch for batch in source.batches() if batch not in entries]
        for batch in track(beyond, description=name, console=console, transient=True):
            if batch != STATIC:
                bounds(batch, dataset.timezone)  # raises if the name is none
            file = ledger.raw_file(dataset.name, name, batch)
            file.parent.mkdir(parents=True, exist_ok=True)
            entries[batch] = take(source, tables[name], batch, file)
            taken.append(f"{name} {batch}: {entries[batch].rows:,} rows")
    if taken:
        ledger.write(path, recorded)
    print("\n".join(taken) if taken else "the source has nothing beyond the ledger")
