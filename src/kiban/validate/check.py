"""From rows to a verdict: checks every batch against its contract, and whether every table has the same batches."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import BinaryIO

from rich.progress import track

from kiban.core import files, memo
from kiban.core.errors import KibanError
from kiban.data import parquet, pieces
from kiban.data.batches import STATIC
from kiban.data.contract import Table
from kiban.data.sketch import Sketch
from kiban.data.verdict import Checked, Expected, Finding, Verdict
from kiban.validate.compare import Version, can_be_compared, compared, is_compared, sketched
from kiban.validate.settings import History

# The code on which the findings of a batch depend. They also depend on its bytes, contract, name and time zone.
CODE = ("kiban.validate.check",)
PACKAGES = ("duckdb", "great-expectations", "pandas", "pyarrow", "sqlglot")


def validate(
    tables: Mapping[str, Table], paths: Mapping[tuple[str, str], Path], timezone: str, history: History
) -> Verdict:
    """The verdict on the Parquet files at `paths`, by table and batch, in order. What was checked before is not read.

    A batch that meets its contract is also compared with the accepted ones before it, as `history` says.

    Raises KibanError if a file is missing or cannot be read, has other types than the contract, or if an expectation of
    the contract cannot be computed.
    """
    accepted: dict[str, dict[str, str]] = {}
    rejected: dict[str, dict[str, str]] = {}
    expectations: dict[str, list[Expected]] = {}
    rows: dict[str, dict[str, int]] = {}
    findings: list[Finding] = []
    uncompared: dict[str, list[str]] = {}
    for (table, batch), path in track(paths.items(), description="validate", transient=True):
        if not path.exists():
            raise KibanError(f"{path} is missing: run `dvc repro`")
        with files.hashed(path) as (file, digest):
            checked = _checked(file, path, digest, tables[table], table, batch, timezone)
        expectations[table] = checked.expectations
        rows.setdefault(table, {})[batch] = checked.rows
        found = checked.findings
        if _good(found) and is_compared(tables[table], batch):
            earlier = list(accepted.get(table, {}).items())[-history.batches :]
            if can_be_compared(batch, [name for name, _ in earlier], timezone):
                versions = [Version(paths[table, name], name, sha256) for name, sha256 in [*earlier, (batch, digest)]]
                found = found + compared(versions, tables[table], table, timezone, history)
            else:
                uncompared.setdefault(table, []).append(batch)
        findings += found
        (accepted if _good(found) else rejected).setdefault(table, {})[batch] = digest
    return Verdict(
        accepted=accepted,
        rejected=rejected,
        expectations=expectations,
        findings=findings,
        rows=rows,
        uncompared=uncompared,
    )


def over_time(
    tables: Mapping[str, Table],
    paths: Mapping[tuple[str, str], Path],
    verdict: Verdict,
    timezone: str,
    batches: int,
) -> dict[str, list[Sketch]]:
    """The sketches of the last `batches` accepted batches of each table whose batches are compared."""
    versions = {
        table: [
            Version(paths[table, batch], batch, sha256)
            for batch, sha256 in list(accepted.items())[-batches:]
            if is_compared(tables[table], batch)
        ]
        for table, accepted in verdict.accepted.items()
    }
    return {table: sketched(each, tables[table], timezone) for table, each in versions.items() if each}


def _good(findings: list[Finding]) -> bool:
    return all(finding.severity == "warn" for finding in findings)


def _checked(
    file: BinaryIO, path: Path, digest: str, contract: Table, table: str, batch: str, timezone: str
) -> Checked:
    key = memo.key(
        what="validate",
        file=digest,
        contract=contract.model_dump(mode="json"),
        table=table,
        batch=batch,
        timezone=timezone,
        code=memo.code(CODE, PACKAGES),
    )
    if (remembered := memo.recall(key, Checked)) is not None:
        return remembered
    from kiban.validate import conditions, expectations  # the import takes seconds

    where = f"{table} {batch}"
    count = pieces.count(file)
    if count > pieces.LARGE:
        findings = _in_pieces(file, path, contract, table, batch, timezone)
    else:
        rows = parquet.as_now(parquet.read_open(file), contract, batch, where)
        parquet.check_types(rows, contract, where)
        findings = [
            *expectations.check(rows, contract, table, batch, timezone),
            *conditions.check(rows, contract, table, batch),
        ]
    checked = Checked(
        rows=count,
        expectations=[*expectations.expected(contract, batch, timezone), *conditions.expected(contract)],
        findings=findings,
    )
    memo.remember(key, checked)
    return checked


def _in_pieces(file: BinaryIO, path: Path, contract: Table, table: str, batch: str, timezone: str) -> list[Finding]:
    from kiban.validate import conditions, large

    with files.scratch(path) as scratch, pieces.as_now(file, contract, batch, scratch) as now:
        parquet.check_types(next(pieces.read(now)), contract, f"{table} {batch}")
        return [
            *large.check(now, contract, table, batch, timezone, scratch),
            *conditions.check(now, contract, table, batch, scratch),
        ]


def absent(batches: Mapping[str, Collection[str]]) -> list[Finding]:
    """A finding for every batch that a table lacks and another table has. Static tables are not considered."""
    batched = {table: set(names) for table, names in batches.items() if STATIC not in names}
    names = sorted(set().union(*batched.values()))
    return [
        Finding(
            table=table,
            batch=batch,
            column=None,
            expectation="expect_batch_in_every_table()",
            severity="reject",
            rows=None,
            observed=f"{', '.join(sorted(name for name in batched if batch in batched[name]))} has it",
            examples=[],
        )
        for batch in names
        for table, table_names in batched.items()
        if batch not in table_names
    ]
