"""Stage validate_prepared: checks every prepared batch against its contract.

A batch that fails stops the pipeline or is left out. The stage also writes reports/data.json, the account of the data
that a model may use, which is in git.
"""

from kiban.core import paths
from kiban.core.settings import Sections, read
from kiban.core.versions import run_stage
from kiban.data import contract, prepared, verdict
from kiban.data.prepared import Account, PreparedBatch
from kiban.data.settings import Identity
from kiban.data.verdict import Finding
from kiban.validate import check
from kiban.validate.conclude import conclude
from kiban.validate.settings import Validation


class Params(Sections):
    dataset: Identity
    validation: Validation


def main() -> None:
    params = read(Params)
    dataset = params.dataset
    tables = {prepared.TABLE: contract.prepared_of(dataset.name)}
    counts = prepared.read_counts()
    files = {(prepared.TABLE, batch): paths.prepared_file(dataset.name, batch) for batch in counts}
    result = check.validate(tables, files, dataset.timezone, params.validation.history)
    over_time = check.over_time(tables, files, result, dataset.timezone, params.validation.history.batches)
    raw = verdict.read("raw")
    left_out = {batch: reason for batch, reason in raw.left_out.items() if batch in counts}
    result = result.model_copy(update={"left_out": left_out})
    hashes = {batch: sha for batch, sha in result.accepted.get(prepared.TABLE, {}).items() if batch not in left_out}
    quarantined = raw.reasons() | result.reasons()
    account = Account(
        rows=sum(counts[batch].rows for batch in hashes),
        left_out_without_target=sum(counts[batch].left_out_without_target for batch in hashes),
        batches={batch: PreparedBatch(**counts[batch].model_dump(), sha256=sha) for batch, sha in hashes.items()},
        quarantined={
            batch: [_reason(finding) for finding in findings] for batch, findings in sorted(quarantined.items())
        },
        left_out=left_out,
    )
    conclude(result, "prepared", dataset.name, params.validation.on_failure, over_time)
    prepared.write_account(account)


def _reason(finding: Finding) -> str:
    column = f".{finding.column}" if finding.column else ""
    rows = "" if finding.rows is None else f", {finding.rows} rows"
    return f"{finding.table}{column}: {finding.expectation}{rows}"


if __name__ == "__main__":
    run_stage(main)
