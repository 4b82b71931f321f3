"""Stage validate_raw: every raw batch meets its contract, or the pipeline stops, or goes on without it."""

from kiban import contract, ledger, validation
from kiban.errors import exit_on_error
from kiban.settings.base import Sections, read
from kiban.settings.dataset import Identity
from kiban.settings.validation import Validation
from kiban.verdict_page import conclude


class Params(Sections):
    dataset: Identity
    validation: Validation


def main() -> None:
    params = read(Params)
    dataset = params.dataset
    tables = contract.read_raw(contract.raw_path(dataset.name))
    recorded = ledger.read(ledger.ledger_path(dataset.name))
    files = {
        (table, batch): ledger.raw_file(dataset.name, table, batch)
        for table in tables
        for batch in recorded.get(table, {})
    }
    found = validation.validate(tables, files, dataset.timezone)
    findings = found.findings + validation.absent({table: recorded.get(table, {}) for table in tables})
    conclude(found.model_copy(update={"findings": findings}), "raw", dataset.name, params.validation.on_failure)


if __name__ == "__main__":
    exit_on_error(main)
