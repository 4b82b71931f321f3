"""Stage ingest: data/raw is what the ledger says."""

from rich.progress import track

from kiban.core import files, paths
from kiban.core.errors import KibanError, exit_on_error
from kiban.core.settings import Sections, read
from kiban.data import contract
from kiban.ingest import ledger
from kiban.ingest.take import take
from kiban.sources.kinds import open_source
from kiban.sources.settings import Dataset


class Params(Sections):
    dataset: Dataset


def main() -> None:
    dataset = read(Params).dataset
    with ledger.locked(paths.ledger(dataset.name)):
        _make_as_recorded(dataset)


def _make_as_recorded(dataset: Dataset) -> None:
    tables = contract.read_raw(paths.raw_contract(dataset.name))
    if set(tables) != set(dataset.tables):
        raise KibanError(f"conf/dataset has the tables {sorted(dataset.tables)}, the raw contract {sorted(tables)}")
    recorded = ledger.read(paths.ledger(dataset.name))
    for table in sorted(set(tables) | set(recorded)):
        if not recorded.get(table):
            raise KibanError(f"{paths.ledger(dataset.name)} has no batch of {table}: run `kiban ingest --new`")
        if table not in tables:
            raise KibanError(f"{paths.ledger(dataset.name)} has the table {table}, which conf/dataset has not")
    wanted = {
        paths.raw_file(dataset.name, table, batch): (table, batch, entry)
        for table, entries in recorded.items()
        for batch, entry in entries.items()
    }
    altered = [path for path, (_, _, entry) in wanted.items() if path.exists() and files.sha256(path) != entry.sha256]
    if altered:
        raise KibanError(
            f"{altered[0]} is not the snapshot that the ledger records: its bytes were altered; "
            f"delete the file, then `dvc repro` brings the snapshot back"
        )
    files.keep_only(paths.raw_folder(dataset.name), set(wanted))
    missing = {path for path in wanted if not path.exists()}
    for name, settings in dataset.tables.items():
        of_table = [path for path in sorted(missing) if wanted[path][0] == name]
        if not of_table:  # a source that is not needed is not opened: it may be out of reach
            continue
        source = open_source(settings.source)
        for path in track(of_table, description=f"ingest {name}", transient=True):
            _, batch, entry = wanted[path]
            take(source, tables[name], batch, dataset.timezone, path, expected=entry)
    print(f"ingest: {len(wanted)} batches, {len(missing)} taken from their source")


if __name__ == "__main__":
    exit_on_error(main)
