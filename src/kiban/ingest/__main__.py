"""Stage ingest: makes data/raw match the ledger."""

import sys
from collections.abc import Mapping
from pathlib import Path

from rich.progress import track

from kiban.core import files, paths, store
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, read
from kiban.core.versions import run_stage
from kiban.data import contract
from kiban.ingest import forgotten, ledger
from kiban.ingest.ledger import Entry
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
            raise KibanError(f"{paths.ledger(dataset.name)} has the table {table}, which conf/dataset lacks")
    snapshots = {
        paths.raw_file(dataset.name, table, batch): (table, batch, entry)
        for table, entries in recorded.items()
        for batch, entry in entries.items()
    }
    altered = [
        path for path, (_, _, entry) in snapshots.items() if path.exists() and files.sha256(path) != entry.sha256
    ]
    digests = {path: files.md5(path) for path in altered}
    saved = store.saved(digests.values())
    for path, digest in digests.items():
        if digest in saved:  # it is that of another version, such as before a refresh
            path.unlink()
    altered = [path for path in altered if path.exists()]
    if altered:
        raise KibanError(
            f"{altered[0]} is not the snapshot that the ledger records: its bytes were altered; "
            f"delete the file, then `dvc repro` restores the snapshot"
        )
    files.keep_only(paths.raw_folder(dataset.name), set(snapshots))
    missing = {path for path in snapshots if not path.exists()}
    restored = _restored({path: entry for path, (_, _, entry) in snapshots.items() if path in missing})
    missing -= restored
    gone = forgotten.read(dataset.name)
    for name, settings in dataset.tables.items():
        missing_paths = [path for path in sorted(missing) if snapshots[path][0] == name]
        if not missing_paths:  # a source that is not needed is not opened: it may be unreachable
            continue
        source = open_source(settings.source)
        for path in track(missing_paths, description=f"ingest {name}", transient=True):
            _, batch, entry = snapshots[path]
            take(source, tables[name], batch, dataset.timezone, path, expected=entry, gone=gone.get(name, ()))
    print(
        f"ingest: {len(snapshots)} batches, {len(missing)} taken from their source"
        + (f", {len(restored)} from DVC's cache or its store" if restored else "")
    )


def _restored(absent: Mapping[Path, Entry]) -> set[Path]:
    """Lay the snapshots that DVC's cache or its store has into data/raw, and return their paths."""
    named = {path: entry.md5 for path, entry in absent.items() if entry.md5}
    if not named:
        return set()
    if problem := store.restored(named):
        print(f"ingest: not all from the store: {problem}", file=sys.stderr)
    for path in named:
        if path.exists() and not files.is_file(path, absent[path].sha256):
            path.unlink()
    return {path for path in named if path.exists()}


if __name__ == "__main__":
    run_stage(main)
