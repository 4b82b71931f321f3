"""Stage prepare: computes the prepared table from the accepted raw batches, one Parquet file for each batch."""

from typing import Any

from rich.progress import track

from kiban.core import files, memo, paths
from kiban.core.settings import Sections, read
from kiban.core.versions import run_stage
from kiban.data import contract, prepared, verdict
from kiban.data.contract import Table
from kiban.data.prepared import Counts
from kiban.data.settings import Engine, Featured
from kiban.prepare.batch import Prepared, batches_of, needed_by, prepare, superseding_of
from kiban.prepare.engine import engine
from kiban.prepare.features import load

# The code on which a prepared batch depends. It also depends on the module of features, the bytes of its raw files,
# the contracts and the parameters.
CODE = ("kiban.prepare.batch",)
PACKAGES = ("duckdb", "ibis-framework", "pyarrow")


class Params(Sections):
    dataset: Featured
    engine: Engine


def main() -> None:
    params = read(Params)
    dataset, on = params.dataset, engine(params.engine)
    table = contract.prepared_of(dataset.name)
    raw = contract.read_raw(paths.raw_contract(dataset.name))
    known = verdict.read("raw")
    accepted = known.accepted
    counted = {
        name: {batch: digest for batch, digest in hashes.items() if batch not in known.left_out}
        for name, hashes in accepted.items()
    }
    features = load(dataset.features, raw)
    code = memo.code((*CODE, features.module), (*PACKAGES, *(["pyspark"] if params.engine == "pyspark" else [])))
    counts: dict[str, Counts] = {}
    computed = 0
    for batch in track(batches_of(raw, accepted), description="prepare", transient=True):
        needed = needed_by(accepted, batch, features.lookback_days, dataset.timezone)
        later = superseding_of(raw, counted, features.rows_of, batch)
        path = paths.prepared_file(dataset.name, batch)
        key = memo.key(
            what="prepare",
            raw=needed,
            superseding=later,
            batch=batch,
            contracts=[table.model_dump(mode="json"), {name: _layout(raw[name]) for name in needed}],
            params=params.model_dump(mode="json"),
            code=code,
        )
        result = memo.recall(key, Prepared)
        if result is None or not files.is_file(path, result.sha256):
            result = prepare(dataset, on, raw, table, features, batch, needed, later, path)
            memo.remember(key, result)
            computed += 1
        counts[batch] = result.counts
    files.keep_only(paths.prepared_folder(dataset.name), {paths.prepared_file(dataset.name, batch) for batch in counts})
    prepared.write_counts(counts)
    rows, left_out = (sum(getattr(count, name) for count in counts.values()) for name in Counts.model_fields)
    print(f"prepare: {rows:,} rows, {left_out:,} left out without a target; {computed} batches computed")


def _layout(table: Table) -> dict[str, Any]:
    """What tells how the snapshots of a raw table are read: its time, and the columns that were otherwise once."""
    settings = ("type", "since", "until", "was")
    changed = {name: column for name, column in table.columns.items() if column.since or column.until}
    columns = {name: column.model_dump(mode="json", include=set(settings)) for name, column in changed.items()}
    return {"time": table.time, "columns": columns}


if __name__ == "__main__":
    run_stage(main)
