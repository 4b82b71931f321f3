"""Stage prepare: accepted raw batches to the prepared table, one Parquet file a batch."""

import importlib
import json
from datetime import timedelta
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
from ibis.common.exceptions import IbisError
from rich.progress import track

from kiban import batches, contract, ledger, parquet, prepared, verdict
from kiban.errors import KibanError, exit_on_error
from kiban.settings.base import Sections, read
from kiban.settings.dataset import Engine, Identity

REPORT = Path("reports/data.json")


class Params(Sections):
    dataset: Identity
    engine: Engine


def main() -> None:
    params = read(Params)
    dataset = params.dataset
    table = contract.read_prepared(contract.prepared_path(dataset.name))
    raw = contract.read_raw(contract.raw_path(dataset.name))
    accepted = verdict.read("raw").accepted
    _check_hashes(dataset.name, accepted)
    module = importlib.import_module(f"kiban.features.{dataset.name}")
    engine = ibis.connect(f"{params.engine}://")
    names = sorted({batch for of in accepted.values() for batch in of} - {batches.STATIC})
    report = {}
    for batch in track(names, description="prepare", transient=True):
        files = _files(dataset, accepted, batch, module.LOOKBACK_DAYS)
        start, end = batches.bounds(batch, dataset.timezone)
        since = start - timedelta(days=module.LOOKBACK_DAYS)
        tables = {}
        for name, paths in files.items():
            rows, time = engine.read_parquet([str(path) for path in paths]), raw[name].time
            tables[name] = rows.filter(rows[time] >= since) if time else rows
        features = module.features(tables)
        of_batch = features.filter((features[table.time] >= start) & (features[table.time] < end))
        rows = parquet.conform(_computed(of_batch, batch), table, f"prepared {batch}")
        # Without a target a row can neither train nor test.
        known = rows.filter(rows[table.target()].is_valid())
        parquet.write(known, prepared.batch_file(dataset.name, batch))
        report[batch] = {"rows": known.num_rows, "left_out_without_target": rows.num_rows - known.num_rows}
    _write_report(report)


def _computed(expression: ibis.Table, batch: str) -> pa.Table:
    try:
        return expression.to_pyarrow()
    except (duckdb.Error, IbisError) as error:  # such as a date that there is not, 31 February
        reason = " ".join(str(error).split())[:200]
        raise KibanError(f"prepared {batch}: the features cannot be computed from its raw rows: {reason}") from None


def _files(dataset: Identity, accepted: dict[str, dict[str, str]], batch: str, lookback: int) -> dict[str, list[Path]]:
    """The raw files by table that the features of `batch` are computed from."""
    files = {}
    for name, of in accepted.items():
        static = batches.STATIC in of
        needed = [batches.STATIC] if static else batches.with_lookback(batch, sorted(of), lookback, dataset.timezone)
        if not static and batch not in of:
            raise KibanError(f"table {name} has no batch {batch}, which another table has: take it, or drop the other")
        files[name] = [ledger.raw_file(dataset.name, name, part) for part in needed]
    return files


def _check_hashes(dataset: str, accepted: dict[str, dict[str, str]]) -> None:
    for name, of in accepted.items():
        for batch, digest in of.items():
            path = ledger.raw_file(dataset, name, batch)
            if not path.exists() or parquet.sha256(path) != digest:
                raise KibanError(f"{path} is not the file that was validated: run `dvc repro`")


def _write_report(batches_: dict[str, dict[str, int]]) -> None:
    total = {key: sum(batch[key] for batch in batches_.values()) for key in ("rows", "left_out_without_target")}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({**total, "batches": batches_}, indent=1) + "\n")
    print(f"prepare: {total['rows']:,} rows, {total['left_out_without_target']:,} left out for want of a target")


if __name__ == "__main__":
    exit_on_error(main)
