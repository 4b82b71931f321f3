"""Carrying out a plan: the files of conf/, the snapshot with its entries of the ledger, and params.yaml."""

import re
from pathlib import Path, PurePosixPath

import pyarrow as pa

from kiban.config.composition import composed
from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.ingest import ledger
from kiban.ingest.ledger import Entry
from kiban.profile import write
from kiban.profile.later import Later
from kiban.profile.run import Plan

IGNORED = (Path("data/raw/.gitignore"), Path("data/prepared/.gitignore"))


def carry_out(plan: Plan, force: bool, is_default: bool) -> list[Path]:
    """Write all that the plan holds, and return the paths to commit.

    Raises KibanError if a person has edited a file that would be overwritten, or if the ledger has other data, unless
    `force` is given. Nothing is written then.
    """
    write.check(plan.texts, force)
    path = paths.ledger(plan.name)
    with ledger.locked(path):
        whole = ledger.read(path)
        if paths.prepared_contract(plan.name).exists() or whole.keys() - {plan.name}:
            raise KibanError(f"there is a dataset {plan.name} with features or tables of its own: give another --name")
        recorded = whole.get(plan.name, {})
        folder = paths.raw_folder(plan.name) / plan.name
        with files.whole(folder) as beside:
            entries = _snapshots(plan, beside, recorded)
            others = recorded.keys() - entries.keys() or {
                batch for batch, entry in entries.items() if recorded and entry != recorded.get(batch)
            }
            if others and not force:
                raise KibanError(
                    f"{path} has other data already ({', '.join(sorted(others)[:3])}): `kiban init --force` begins "
                    "anew, and --name gives the table another name"
                )
        write.write(plan.texts)
        ledger.write(path, {plan.name: entries})
    for each in IGNORED:
        _ignore(each, plan.name)
    written = [*plan.texts, path, *IGNORED]
    if is_default:
        _make_default(plan.name)
        written += [paths.CONFIG, paths.PARAMS]
    return written


def _snapshots(plan: Plan, folder: Path, recorded: dict[str, Entry]) -> dict[str, Entry]:
    """Write the snapshots to `folder`, and return their entries. One that is recorded keeps its entry."""
    folder.mkdir(parents=True)
    entries = {}
    for batch, rows in plan.rows.items():
        entry, before = _snapshot(rows, folder / f"{batch}.parquet", plan.origin), recorded.get(batch)
        entries[batch] = before if before is not None and before.sha256 == entry.sha256 else entry
    return entries


def _snapshot(rows: pa.Table, path: Path, origin: str) -> Entry:
    """Write rows as a snapshot, and return its entry of the ledger."""
    parquet.write(rows, path)
    return ledger.entry_of(path, rows.num_rows, origin)


def take_later(found: Later, name: str, data: str) -> None:
    """Write the batches of a later file of the dataset `name`, and then their entries of the ledger."""
    path, origin = paths.ledger(name), PurePosixPath(data.rstrip("/")).name
    entries = {batch: _snapshot(rows, paths.raw_file(name, name, batch), origin) for batch, rows in found.rows.items()}
    recorded = ledger.read(path)
    ledger.write(path, {**recorded, name: {**recorded[name], **entries}})


def _ignore(path: Path, name: str) -> None:
    """Let git ignore the folder of the dataset. DVC does so too, but takes it back when a later stage fails."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if f"/{name}" not in lines:
        files.write(path, "".join(f"{line}\n" for line in [*lines, f"/{name}"]).encode())


def _make_default(name: str) -> None:
    """Name the dataset in conf/config.yaml, and compose params.yaml. Both are as before if that fails."""
    before = paths.CONFIG.read_bytes()
    files.write(paths.CONFIG, _with_dataset(name))
    try:
        files.write(paths.PARAMS, composed(Path(), []))
    except KibanError:
        files.write(paths.CONFIG, before)
        raise


def _with_dataset(name: str) -> bytes:
    """conf/config.yaml with the dataset as the default, and no overlay, which would be of another dataset.

    Raises KibanError if the file has no line for the dataset.
    """
    text = paths.CONFIG.read_text(encoding="utf-8")
    text, replaced = re.subn(r"(?m)^(\s*- dataset:) \S+", rf"\1 {name}", text)
    if not replaced:
        raise KibanError(f"{paths.CONFIG}: there is no line `- dataset: …` among the defaults")
    return re.sub(r"(?m)^(\s*- experiment:) \S+", r"\1 none", text).encode()
