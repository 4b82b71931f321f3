"""Erasing what holds a key, wherever this clone and its stores have it, and keeping it from coming back.

No history is rewritten: the names of objects stay in dvc.lock of old commits, and the objects are gone.
"""

import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from rich.progress import track

from kiban.core import files, lock, paths, store, tombstones
from kiban.core.errors import KibanError, one_line
from kiban.core.git import git
from kiban.core.tombstones import Tombstone
from kiban.data import contract, parquet
from kiban.data.settings import Engine, Featured
from kiban.ingest import forgotten, ledger, retention
from kiban.maintain import holders
from kiban.maintain.holders import Aged, Holding, Keys, Older
from kiban.operate import archive, history, release, tree
from kiban.request import logged, new_rows
from kiban.sources.settings import Dataset

OUTPUTS = (Path("data/prepared"), Path("reports/validation"), paths.PREDICTIONS)
"""What stages write again, and what may hold a row."""

KEPT_ELSEWHERE = (
    "other clones: `kiban erase` removes the objects there too, once they have this commit",
    "versions and backups that the store keeps of its objects",
    "files that were scored, and answers in a database",
    "copies of the prediction log in a store, and the files of runs on an MLflow server",
)
"""What is out of reach."""


class Erased(NamedTuple):
    """What was found, or is gone: objects of DVC, batches by table, files, versions of models that have learnt from it,
    and what was not reached."""

    objects: list[str]
    batches: Mapping[str, list[str]]
    files: list[Path]
    models: list[str]
    problems: list[str]


class Objects:
    """The objects of DVC that any commit names, in the cache and, but for `stores`, in the stores of this clone."""

    def __init__(self, stores: bool = True) -> None:
        from dvc.repo import Repo

        self.repo = Repo()
        self.problems: list[str] = []
        self.stores: dict[str, Any] = {"the cache": self.repo.cache.local}
        for name in self.repo.config.get("remote", {}) if stores else ():
            remote = self.repo.cloud.get_remote(name)
            if remote.fs.version_aware or remote.worktree:
                self.problems.append(f"the store {name}, which keeps files by their paths and versions")
                continue
            self.stores[name] = remote.odb

    def named(self) -> list[str]:
        """The files' MD5, without those of folders, whose objects have names alone."""
        digests = lock.ever_named()
        folders = [digest for digest in digests if digest.endswith(store.FOLDER)]
        inside = {digest for folder in folders for digest in store.content(folder, *self.stores.values()).values()}
        return sorted((digests - set(folders)) | inside)

    def content(self, digest: str) -> bytes | None:
        """The bytes of an object, or None if neither cache nor store has it."""
        for odb in self.stores.values():
            try:
                with odb.fs.open(odb.oid_to_path(digest), "rb") as file:
                    content: bytes = file.read()
                    return content
            except FileNotFoundError:
                continue
            except Exception as error:  # of DVC, the store or the network
                raise KibanError(f"the store cannot be read: {one_line(error)}; {store.advice(error)}") from None
        return None

    def remove(self, digest: str) -> None:
        for name, odb in self.stores.items():
            try:
                odb.fs.rm_file(odb.oid_to_path(digest))
            except FileNotFoundError:
                continue
            except Exception as error:  # of DVC, the store or the network
                raise KibanError(
                    f"{name} does not let {digest} be removed: {one_line(error)}; {store.advice(error)}"
                ) from None


def find(asked: Holding, dataset: Featured, engine: Engine, tables: Collection[str]) -> tuple[Holding, Erased]:
    """All that holds something of what is to be forgotten; of keys, those of the prepared rows are found first.

    Raises KibanError if a store cannot be read.
    """
    objects = Objects()
    contents = {digest: _lazily(objects, digest) for digest in objects.named()}
    if isinstance(asked, Keys):
        asked = _with_prepared(asked, dataset, engine, tables, contents.values())
    holding = [
        digest
        for digest, read in track(contents.items(), description="objects", transient=True)
        if (content := read()) is not None and asked.content(content)
    ]
    batches = {table: _batches(asked, dataset, table) for table in tables}
    return asked, Erased(holding, batches, _files(asked), _models(batches), objects.problems)


Read = Callable[[], bytes | None]


def _lazily(objects: Objects, digest: str) -> Read:
    return lambda: objects.content(digest)


def _with_prepared(
    keys: Keys, dataset: Featured, engine: Engine, tables: Collection[str], contents: Iterable[Read]
) -> Keys:
    """The keys, and those of the prepared rows that were made of their rows in any version."""
    name = new_rows.table_asked_about(dataset)
    if name not in tables:
        return keys
    schema = parquet.schema(contract.read_raw(paths.raw_contract(dataset.name))[name])
    kept = (path.read_bytes() for path in sorted((paths.raw_folder(dataset.name) / name).glob("*.parquet")))
    parts = [schema.empty_table()]
    for content in (*kept, *(read() for read in contents)):
        if content and content[:4] == holders.MAGIC:
            rows = holders.table(content)
            if rows.schema.remove_metadata().equals(schema):
                parts.append(rows.filter(keys.rows(rows)))
    rows = pa.concat_tables(parts)
    if not rows.num_rows:
        return keys
    return keys.also(new_rows.keys_of(dataset, engine, rows.group_by(rows.column_names).aggregate([])))


def too_old(dataset: Dataset, now: datetime) -> tuple[Older, list[str]]:
    """The rows that are older than their tables keep them, and those tables.

    Raises KibanError if no table says how long it is kept, or if one that does has no time.
    """
    raw, aged = contract.read_raw(paths.raw_contract(dataset.name)), []
    asked_about = new_rows.table_asked_about(dataset)
    chosen = [name for name, settings in dataset.tables.items() if settings.retention_months]
    for name in chosen:
        months, table = dataset.tables[name].retention_months or 0, raw[name]
        if table.time is None:
            raise KibanError(f"conf/dataset: {name}: retention_months needs a table with a time")
        cut = retention.cut(now, months, dataset.timezone)
        aged.append(Aged(frozenset([*table.key, table.time]), table.time, cut))
        prepared = contract.prepared_of(dataset.name)
        if name == asked_about and prepared.time:
            aged.append(Aged(frozenset([*prepared.key, prepared.time]), prepared.time, cut))
    if not aged:
        raise KibanError("no table of conf/dataset has retention_months: how long its rows are kept")
    return Older(tuple(aged)), chosen


def erase(
    asked: Holding, dataset: Featured, engine: Engine, tables: Collection[str], reason: str, today: date
) -> Erased:
    """Erase all that holds something of what is to be forgotten, and say what it was.

    The list of the objects is written before the first of them is removed, and one that was interrupted goes on. Raises
    KibanError if something is left, or if a store cannot be read.
    """
    every, plan = find(asked, dataset, engine, tables)
    known = tombstones.dates(tombstones.read())
    if new := [digest for digest in plan.objects if digest not in known]:
        tombstones.add(Tombstone(date=today, reason=reason, objects=new))
    if isinstance(asked, Keys) and (secret := forgotten.secret()):
        for columns, texts in asked.texts.items():
            forgotten.add(dataset.name, tables, list(columns), texts, secret)
    for path in plan.files:  # before the raw rows, by which the others are found if this is interrupted
        _clean_file(path, every)
    remove_again()
    for folder in (paths.CACHE, Path(".dvc/tmp/exps")):
        shutil.rmtree(folder, ignore_errors=True)
    _remove_worktree()
    for table, names in plan.batches.items():
        _clean(asked, dataset, table, names)
    _, left = find(every, dataset, engine, tables)
    if left.objects or left.files or any(left.batches.values()):
        names = [*left.objects, *map(str, left.files)][:3]
        raise KibanError(f"something is still in {', '.join(names)}: is it being written? Do it again")
    return plan


def remove_again(stores: bool = True) -> list[str]:
    """Remove every object that was ever erased, such as of a clone that has just learnt of it, and name them."""
    digests = [digest for each in tombstones.read() for digest in each.objects]
    if not digests:
        return []
    objects = Objects(stores)
    for digest in track(digests, description="removing", transient=True):
        objects.remove(digest)
    gone = set(digests)
    for path in _under(OUTPUTS):
        if files.md5(path) in gone:
            _unlink(path)
    return digests


def _batches(keys: Holding, dataset: Featured, table: str) -> list[str]:
    """The snapshots in data/raw with such a row."""
    holding = []
    for batch in ledger.read(paths.ledger(dataset.name)).get(table, {}):
        path = paths.raw_file(dataset.name, table, batch)
        if path.exists() and keys.content(path.read_bytes()):
            holding.append(batch)
    return sorted(holding)


def _clean(keys: Holding, dataset: Featured, table: str, batches: Iterable[str]) -> None:
    """Write snapshots without these rows, and their entries of the ledger."""
    where = paths.ledger(dataset.name)
    for batch in batches:
        path = paths.raw_file(dataset.name, table, batch)
        with ledger.locked(where):
            recorded = ledger.read(where)
            entry = recorded[table][batch]
            rows = parquet.read(path)
            rows = rows.filter(pc.invert(keys.rows(rows)))
            if not rows.num_rows:
                del recorded[table][batch]
                ledger.write(where, recorded)
                _unlink(path)
                continue
            with files.whole(path) as beside:
                parquet.write(rows, beside)
                fresh = ledger.entry_of(beside, rows.num_rows, entry.source)
            kept = {"taken_at": entry.taken_at, "left_out": entry.left_out, "accepted": entry.accepted}
            recorded[table][batch] = fresh.model_copy(update=kept)
            ledger.write(where, recorded)


def _files(keys: Holding) -> list[Path]:
    """Files of this machine outside of DVC's cache: outputs, logs, runs and archives."""
    root = release.root()
    folders = [logged.folder(Path()), archive.FOLDER, root / archive.NEWEST, paths.OUTBOX, paths.RUNS / "artifacts"]
    return holders.files_with(keys, [folder for folder in (*OUTPUTS, *folders) if folder.exists()])


def _clean_file(path: Path, keys: Holding) -> None:
    """Remove a file that is made anew, or the rows and lines of one that is not."""
    if path.suffix == ".jsonl":
        files.write(path, keys.without(path.read_bytes()))
    elif path.suffix == ".parquet" and (archive.FOLDER in path.parents or path.parent.name == archive.NEWEST):
        rows = parquet.read(path)
        parquet.write(rows.filter(pc.invert(keys.rows(rows))), path)
    elif paths.OUTBOX in path.parents:
        shutil.rmtree(paths.OUTBOX / path.relative_to(paths.OUTBOX).parts[0], ignore_errors=True)
    else:
        _unlink(path)


def _under(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield from [place] if place.is_file() else (path for path in place.rglob("*") if path.is_file())


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _remove_worktree() -> None:
    """The worktree of the cycle has copies of all; the next cycle makes it anew."""
    if tree.FOLDER.exists():
        try:
            git(Path(), "worktree", "remove", "--force", "--force", str(tree.FOLDER))
        except subprocess.CalledProcessError:
            shutil.rmtree(tree.FOLDER, ignore_errors=True)


def _models(batches: Mapping[str, list[str]]) -> list[str]:
    """The versions that were trained on one of the batches."""
    known = history.known_at(None)
    names = sorted({name for of_table in batches.values() for name in of_table})
    return list(dict.fromkeys(line.version for name in names for line in history.lines(known, name)))
