"""Erasing what holds a key, wherever this clone and its stores have it, and keeping it from coming back.

No history is rewritten: the names of objects stay in dvc.lock of old commits, and the objects are gone.
"""

import gzip
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from rich.progress import track

from kiban.core import files, lock, paths, store, tombstones, turns
from kiban.core.errors import KibanError, one_line
from kiban.core.git import git
from kiban.core.tombstones import Tombstone
from kiban.data import contract, parquet
from kiban.data.settings import Featured
from kiban.ingest import forgotten, ledger, retention
from kiban.ingest.ledger import Entry
from kiban.maintain import holders
from kiban.maintain.holders import Aged, Holding, Keys, Older
from kiban.operate import archive, collected, history, promote, release, remote, tree
from kiban.operate.remote import UnreachableError
from kiban.request import logged, new_rows
from kiban.sources import stores
from kiban.sources.settings import Dataset

OUTPUTS = (Path("data/prepared"), Path("reports/validation"), paths.PREDICTIONS)
"""What stages write again, and what may hold a row."""

KEPT_ELSEWHERE = (
    "other clones: `kiban erase` removes the objects there too, once they have this commit",
    "versions and backups that the store keeps of its objects, and objects in it that nothing names",
    "files that were scored, and answers in a database",
    "commits of runs that were removed, until the host of origin and `git gc --prune=now` here forget them",
    "the files of runs on an MLflow server",
)
"""What is out of reach."""


class Erased(NamedTuple):
    """What was found, or is gone: objects of DVC, batches by table, files, copies of the prediction log in a store,
    versions of models that have learnt from it, and what was not reached."""

    objects: list[str]
    batches: Mapping[str, list[str]]
    files: list[Path]
    copies: list[str]
    models: list[str]
    problems: list[str]

    @property
    def is_nothing(self) -> bool:
        return not (self.objects or self.files or self.copies or any(self.batches.values()))


class Objects:
    """The objects of DVC in the cache and, but for `stores`, in the stores of this clone."""

    def __init__(self, stores: bool = True) -> None:
        from dvc.repo import Repo

        self.repo = Repo()
        self.problems: list[str] = []
        self.places: dict[str, Any] = {"the cache": self.repo.cache.local}
        for name in self.repo.config.get("remote", {}) if stores else ():
            there = self.repo.cloud.get_remote(name)
            if there.fs.version_aware or there.worktree:
                self.problems.append(f"the store {name}, which keeps files by their paths and versions")
                continue
            self.places[name] = there.odb

    def every(self) -> list[str]:
        """The MD5 of all files that the cache has, or that a commit, a tag or an experiment names.

        A store may be that of other projects too: what only it has, and nothing names here, is theirs.
        """
        named = lock.ever_named() | set(self.repo.cache.local.all())
        folders = [digest for digest in named if digest.endswith(store.FOLDER)]
        inside = {digest for folder in folders for digest in store.content(folder, *self.places.values()).values()}
        return sorted((named - set(folders)) | inside)

    def content(self, digest: str) -> bytes | None:
        """The bytes of an object, or None if no place has it. Raises KibanError if a store cannot be read."""
        for place in self.places.values():
            try:
                with place.fs.open(place.oid_to_path(digest), "rb") as file:
                    content: bytes = file.read()
                    return content
            except FileNotFoundError:
                continue
            except Exception as error:  # of DVC, the store or the network
                raise KibanError(f"the store cannot be read: {one_line(error)}; {store.advice(error)}") from None
        return None

    def remove(self, digest: str) -> None:
        for name, place in self.places.items():
            try:
                place.fs.rm_file(place.oid_to_path(digest))
            except FileNotFoundError:
                continue
            except Exception as error:  # of DVC, the store or the network
                what = f"{one_line(error)}; {store.advice(error)}"
                raise KibanError(f"{name} does not let {digest} be removed: {what}") from None


def find(asked: Holding, dataset: Featured, tables: Collection[str]) -> tuple[Holding, Erased]:
    """All that holds something of what is to be forgotten; of keys, those of the prepared rows are found first.

    Raises KibanError if a store cannot be read.
    """
    objects = Objects()
    digests = objects.every()
    if isinstance(asked, Keys):
        asked = _with_prepared(asked, dataset, tables, map(objects.content, digests))
    holding = [
        digest
        for digest in track(digests, description="objects", transient=True)
        if (content := objects.content(digest)) is not None and asked.content(content)
    ]
    batches = {table: _batches(asked, dataset, table) for table in tables}
    found = _files(asked)
    prepared = [path.stem for path in found if paths.prepared_folder(dataset.name) in path.parents]
    models = _models({*prepared, *(name for names in batches.values() for name in names)})
    copies = [name for name in _copies() if asked.content(stores.contents([name])[0])]
    return asked, Erased(holding, batches, found, copies, models, objects.problems)


def _copies() -> list[str]:
    """The addresses of the copies of the prediction log, if there is a store for them."""
    address = logged.store()
    if not address:
        return []
    names = collected.copies(address, collected.names(address))
    return [logged.copied_to(address, name.removesuffix(logged.COPY)) for name in names]


def _with_prepared(keys: Keys, dataset: Featured, tables: Collection[str], contents: Iterable[bytes | None]) -> Keys:
    """The keys, and those of the prepared rows that were made of their rows in any version."""
    name = new_rows.table_asked_about(dataset)
    if name not in tables:
        return keys
    raw = contract.read_raw(paths.raw_contract(dataset.name))
    parts = [parquet.schema(raw[name]).empty_table()]
    for path in sorted((paths.raw_folder(dataset.name) / name).glob("*.parquet")):
        rows = parquet.as_now(parquet.read(path), raw[name], path.stem, str(path))
        parts.append(rows.filter(keys.rows(rows)))
    for content in contents:
        if content and content[:4] == holders.MAGIC:
            rows = holders.table(content)
            if rows.schema.remove_metadata().equals(parts[0].schema):
                parts.append(rows.filter(keys.rows(rows)))
    rows = pa.concat_tables(parts)
    if not rows.num_rows:
        return keys
    rows = rows.group_by(rows.column_names).aggregate([])
    others = new_rows.recent_rows(dataset, rows, [table for table in raw if table != name])
    return keys.also(new_rows.keys_of(dataset, rows, others))


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


def erase(asked: Holding, dataset: Featured, tables: Collection[str], reason: str, today: date) -> Erased:
    """Erase all that holds something of what is to be forgotten, and say what it was.

    The list of the objects is written before the first of them is removed, and they are removed last, so that one that
    was interrupted finds the rest again. Raises KibanError if a snapshot of the ledger is not here, if a cycle or a
    promotion runs, if something is left, or if a store cannot be read.
    """
    with turns.alone("cycle"), promote.alone():
        return _erase(asked, dataset, tables, reason, today)


def _erase(asked: Holding, dataset: Featured, tables: Collection[str], reason: str, today: date) -> Erased:
    secret = forgotten.secret()
    if isinstance(asked, Keys) and secret:
        forgotten.check(dataset.name, secret)
    _complete(dataset)
    runs, problem = _runs()  # they too name objects of DVC
    every, plan = find(asked, dataset, tables)
    known = tombstones.dates(tombstones.read())
    if new := [digest for digest in plan.objects if digest not in known]:
        tombstones.add(Tombstone(date=today, reason=reason, objects=new))
    if isinstance(asked, Keys) and secret:
        for columns, texts in asked.texts.items():
            forgotten.add(dataset.name, tables, list(columns), texts, secret)
    for table, names in plan.batches.items():
        _clean(asked, dataset, table, names)
    _clean_files(plan, every)
    _remove_worktree()
    for path in [*paths.CACHE.iterdir(), Path(".dvc/tmp/exps")]:
        if path.name not in turns.FILES.values():  # others may wait for them
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    remove_again()
    if (archive.FOLDER.with_suffix(".dvc")).exists() and archive.FOLDER.exists():
        tree.dvc("add", "--quiet", str(archive.FOLDER))
    _, left = find(every, dataset, tables)
    if not left.is_nothing:
        names = [*left.objects, *map(str, left.files), *left.copies][:3]
        raise KibanError(f"something is still in {', '.join(names)}: is it being written? Do it again")
    try:
        remote.remove_refs(runs)
    except KibanError as error:
        problem.append(f"{error}: the steps of runs there")
    return plan._replace(problems=[*plan.problems, *problem])


def _runs() -> tuple[list[str], list[str]]:
    """The refs of the steps of runs, which may quote rows and go with them, and why they cannot be brought."""
    if not remote.is_there():
        return [], []
    try:
        return remote.runs(), []
    except UnreachableError as error:
        return [], [f"{error}: the steps of runs there"]


def remove_again(stores: bool = True) -> list[str]:
    """Remove every object that was ever erased, such as of a clone that has just learnt of it, and name them.

    Files of this clone that are such an object go too: snapshots and outputs are made or brought anew.
    """
    digests = [digest for each in tombstones.read() for digest in each.objects]
    if not digests:
        return []
    objects = Objects(stores)
    gone = set(digests)
    for path in _under([*OUTPUTS, Path("data/raw"), archive.FOLDER]):
        if files.md5(path) in gone:
            path.unlink()
    for digest in track(digests, description="removing", transient=True):
        objects.remove(digest)
    return digests


def _complete(dataset: Featured) -> None:
    """Bring the snapshots that the ledger names. Raises KibanError if one is not here then: it could not be cleaned.

    A snapshot that was cleaned, and whose entry was not written, gets it.
    """
    where = paths.ledger(dataset.name)
    erased = tombstones.dates(tombstones.read())
    with ledger.locked(where):
        recorded = ledger.read(where)
        named = {
            paths.raw_file(dataset.name, table, batch): (table, batch, entry)
            for table, entries in recorded.items()
            for batch, entry in entries.items()
        }
        store.restored({path: entry.md5 for path, (_, _, entry) in named.items() if entry.md5 and not path.exists()})
        for path, (table, batch, entry) in named.items():
            if not path.exists():
                raise KibanError(f"{path} is not here, and could not be cleaned: `kiban pull`, or `dvc repro`, first")
            if files.sha256(path) == entry.sha256:
                continue
            if entry.md5 not in erased:
                raise KibanError(f"{path} is not the snapshot that the ledger records: `dvc repro` first")
            recorded[table][batch] = _entry(path, parquet.read(path).num_rows, entry)
        ledger.write(where, recorded)


def _entry(path: Path, rows: int, before: Entry) -> Entry:
    """The entry of a snapshot that was cleaned."""
    kept = {"taken_at": before.taken_at, "left_out": before.left_out, "accepted": before.accepted}
    return ledger.entry_of(path, rows, before.source).model_copy(update=kept)


def _batches(holding: Holding, dataset: Featured, table: str) -> list[str]:
    """The snapshots in data/raw with such a row."""
    names = ledger.read(paths.ledger(dataset.name)).get(table, {})
    snapshots = {name: paths.raw_file(dataset.name, table, name) for name in names}
    return sorted(name for name, path in snapshots.items() if path.exists() and holding.content(path.read_bytes()))


def _clean(holding: Holding, dataset: Featured, table: str, batches: Iterable[str]) -> None:
    """Write snapshots without these rows, and their entries of the ledger. One without any row is no batch any more."""
    where = paths.ledger(dataset.name)
    for batch in batches:
        path = paths.raw_file(dataset.name, table, batch)
        with ledger.locked(where):
            recorded = ledger.read(where)
            rows = parquet.read(path)
            rows = rows.filter(pc.invert(holding.rows(rows)))
            if rows.num_rows:
                with files.whole(path) as beside:
                    parquet.write(rows, beside)
                recorded[table][batch] = _entry(path, rows.num_rows, recorded[table][batch])
            else:
                del recorded[table][batch]
                path.unlink()
            ledger.write(where, recorded)


def _files(holding: Holding) -> list[Path]:
    """Files of this machine outside of DVC's cache: outputs, logs, runs and archives."""
    root = release.root()
    folders = [logged.folder(Path()), archive.FOLDER, root / archive.NEWEST, paths.OUTBOX, paths.RUNS / "artifacts"]
    return holders.files_with(holding, [folder for folder in (*OUTPUTS, *folders) if folder.exists()])


def _clean_files(plan: Erased, holding: Holding) -> None:
    """Remove files that are made anew, and the rows and lines of those that are not.

    A line of the log with other records too is another line afterwards: the archive takes it anew.
    """
    changed: set[int] = set()
    logs = [path for path in plan.files if path.suffix == ".jsonl"]
    for path in logs:
        content, lines = holding.without(path.read_bytes())
        changed |= lines
        mode = path.stat().st_mode & 0o777
        with files.whole(path) as beside:
            beside.touch(mode=0o600)
            beside.write_bytes(content)
            beside.chmod(mode)
    for address in plan.copies:
        content, lines = holding.without(holders.unpacked(stores.contents([address])[0]))
        changed |= lines
        stores.write(address, gzip.compress(content, mtime=0))
    folders = [archive.FOLDER, release.root() / archive.NEWEST]
    for path in (path for folder in folders for path in folder.glob(archive.MONTHS)):
        archive.clean(path, holding.rows, changed)
    for path in plan.files:
        if paths.OUTBOX in path.parents:
            shutil.rmtree(paths.OUTBOX / path.relative_to(paths.OUTBOX).parts[0], ignore_errors=True)
        elif path not in logs and not any(folder in path.parents for folder in folders):
            path.unlink(missing_ok=True)


def _under(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield from [place] if place.is_file() else (path for path in place.rglob("*") if path.is_file())


def _remove_worktree() -> None:
    """The worktree of the cycle has copies of all; the next cycle makes it anew."""
    if tree.FOLDER.exists():
        try:
            git(Path(), "worktree", "remove", "--force", "--force", str(tree.FOLDER))
        except subprocess.CalledProcessError:
            shutil.rmtree(tree.FOLDER, ignore_errors=True)


def _models(batches: Collection[str]) -> list[str]:
    """The versions that were trained on one of the batches."""
    known = history.known_at(None)
    return list(dict.fromkeys(line.version for name in sorted(batches) for line in history.lines(known, name)))
