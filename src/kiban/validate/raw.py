"""Stage validate_raw: checks every raw batch against its contract.

A batch that fails stops the pipeline or is left out.
"""

from kiban.core import paths
from kiban.core.settings import Sections, read
from kiban.core.versions import run_stage
from kiban.data import contract
from kiban.data.settings import Identity
from kiban.ingest import ledger
from kiban.validate import check
from kiban.validate.conclude import conclude
from kiban.validate.settings import Validation


class Params(Sections):
    dataset: Identity
    validation: Validation


def main() -> None:
    params = read(Params)
    dataset = params.dataset
    tables = contract.read_raw(paths.raw_contract(dataset.name))
    recorded = ledger.read(paths.ledger(dataset.name))
    files = {
        (table, batch): paths.raw_file(dataset.name, table, batch)
        for table in tables
        for batch in recorded.get(table, {})
    }
    history = params.validation.history
    right = [entry.sha256 for entries in recorded.values() for entry in entries.values() if entry.accepted]
    history = history.model_copy(update={"accept": [*history.accept, *right]})
    result = check.validate(tables, files, dataset.timezone, history)
    over_time = check.over_time(tables, files, result, dataset.timezone, history.batches)
    findings = result.findings + check.absent({table: recorded.get(table, {}) for table in tables})
    result = result.model_copy(update={"findings": findings, "left_out": ledger.left_out(recorded)})
    conclude(result, "raw", dataset.name, params.validation.on_failure, over_time)


if __name__ == "__main__":
    run_stage(main)
