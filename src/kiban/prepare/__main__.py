"""Stage prepare: accepted raw batches to the prepared table, one Parquet file a batch."""

import importlib
import pkgutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel
from rich.progress import track

from kiban import features
from kiban.core import files, memo, paths
from kiban.core.errors import KibanError, exit_on_error
from kiban.core.settings import Sections, read
from kiban.data import batches, contract, parquet, prepared, verdict
from kiban.data.contract import Table
from kiban.data.prepared import Counts
from kiban.data.settings import Engine, Identity
from kiban.prepare.engine import compute, connect

# What a prepared batch depends on, beside the modules of kiban.features, the bytes of its raw files, the contracts and
# the parameters.
CODE = (
    "kiban.data.batches",
    "kiban.data.contract",
    "kiban.data.parquet",
    "kiban.data.prepared",
    "kiban.prepare.__main__",
    "kiban.prepare.engine",
    "kiban.data.verdict",
)
PACKAGES = ("duckdb", "ibis-framework", "pyarrow")

Hashes = Mapping[str, Mapping[str, str]]
"""SHA-256 by table and batch."""


class Params(Sections):
    dataset: Identity
    engine: Engine


class Prepared(BaseModel):
    """A batch that was prepared: its counts, and the SHA-256 of its file."""

    counts: Counts
    sha256: str


def main() -> None:
    params = read(Params)
    dataset = params.dataset
    table = contract.read_prepared(paths.prepared_contract(dataset.name))
    raw = contract.read_raw(paths.raw_contract(dataset.name))
    accepted = verdict.read("raw").accepted
    module = importlib.import_module(f"kiban.features.{dataset.name}")
    # All of them: one may import another.
    modules = [f"{features.__name__}.{found.name}" for found in pkgutil.iter_modules(features.__path__)]
    code = memo.code((*CODE, *modules), PACKAGES)
    counts: dict[str, Counts] = {}
    computed = 0
    for batch in track(_batches(raw, accepted), description="prepare", transient=True):
        needed = _needed(accepted, batch, module.LOOKBACK_DAYS, dataset.timezone)
        path = paths.prepared_file(dataset.name, batch)
        key = memo.key(
            what="prepare",
            raw=needed,
            batch=batch,
            contracts=[table.model_dump(mode="json"), {name: raw[name].time for name in needed}],
            params=params.model_dump(mode="json"),
            code=code,
        )
        known = memo.recall(key, Prepared)
        if known is None or not files.is_file(path, known.sha256):
            known = _prepare(params, raw, table, module, batch, needed, path)
            memo.remember(key, known)
            computed += 1
        counts[batch] = known.counts
    files.keep_only(paths.prepared_folder(dataset.name), {paths.prepared_file(dataset.name, batch) for batch in counts})
    prepared.write_counts(counts)
    rows, left_out = (sum(getattr(of, name) for of in counts.values()) for name in Counts.model_fields)
    print(f"prepare: {rows:,} rows, {left_out:,} left out for want of a target; {computed} batches computed")


def _batches(raw: Mapping[str, Table], accepted: Hashes) -> list[str]:
    """The batches that were accepted in every table; KibanError if there is none, or a table has nothing."""
    for name in raw:
        if not accepted.get(name):
            raise KibanError(f"no batch of table {name} was accepted, so that nothing can be prepared")
    batched = [set(of) for of in accepted.values() if batches.STATIC not in of]
    names = set.intersection(*batched) if batched else set()
    if not names:
        raise KibanError("no batch was accepted in every table, so that nothing can be prepared")
    return sorted(names)


def _needed(accepted: Hashes, batch: str, lookback: int, timezone: str) -> dict[str, dict[str, str]]:
    """The raw batches with their hashes, by table, that the features of `batch` are computed from."""
    needed = {}
    for name, of in accepted.items():
        names = (
            [batches.STATIC] if batches.STATIC in of else batches.with_lookback(batch, sorted(of), lookback, timezone)
        )
        needed[name] = {part: of[part] for part in names}
    return needed


def _prepare(
    params: Params,
    raw: Mapping[str, Table],
    table: Table,
    module: ModuleType,
    batch: str,
    needed: Hashes,
    path: Path,
) -> Prepared:
    """Write the prepared rows of `batch` to `path`."""
    dataset = params.dataset
    start, end = batches.bounds(batch, dataset.timezone)
    since = start - timedelta(days=module.LOOKBACK_DAYS)
    engine = connect(params.engine)
    tables = {}
    for name, of in needed.items():
        hashes = {paths.raw_file(dataset.name, name, part): digest for part, digest in of.items()}
        for raw_path, digest in hashes.items():
            verdict.check_file(raw_path, digest)
        rows, time = engine.read_parquet([str(raw_path) for raw_path in hashes]), raw[name].time
        tables[name] = rows.filter(rows[time] >= since) if time else rows
    rows_of_all = module.features(tables)
    of_batch = rows_of_all.filter((rows_of_all[table.time] >= start) & (rows_of_all[table.time] < end))
    computed = parquet.conform(compute(engine, of_batch, f"prepared {batch}: the features"), table, f"prepared {batch}")
    known = computed.filter(computed[table.target()].is_valid())
    parquet.write(known, path)
    counts = Counts(rows=known.num_rows, left_out_without_target=computed.num_rows - known.num_rows)
    return Prepared(counts=counts, sha256=files.sha256(path))


if __name__ == "__main__":
    exit_on_error(main)
