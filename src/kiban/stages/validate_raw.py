"""Stage validate_raw: every raw batch meets its contract, or the pipeline stops."""

from kiban import contract, expectations, ledger
from kiban.errors import exit_on_error
from kiban.settings.base import Sections, read
from kiban.settings.dataset import Identity
from kiban.verdict_page import conclude


class Params(Sections):
    dataset: Identity


def main() -> None:
    dataset = read(Params).dataset
    tables = contract.read_raw(contract.raw_path(dataset.name))
    recorded = ledger.read(ledger.ledger_path(dataset.name))
    files = {
        (table, batch): ledger.raw_file(dataset.name, table, batch)
        for table in tables
        for batch in recorded.get(table, {})
    }
    conclude(expectations.validate(tables, files, dataset.timezone), "raw", dataset.name)


if __name__ == "__main__":
    exit_on_error(main)
