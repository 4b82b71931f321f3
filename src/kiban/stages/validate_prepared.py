"""Stage validate_prepared: every prepared batch meets its contract, or the pipeline stops."""

from kiban import contract, expectations, prepared
from kiban.errors import exit_on_error
from kiban.settings.base import Sections, read
from kiban.settings.dataset import Identity
from kiban.verdict_page import conclude


class Params(Sections):
    dataset: Identity


def main() -> None:
    dataset = read(Params).dataset
    tables = {prepared.TABLE: contract.read_prepared(contract.prepared_path(dataset.name))}
    files = {(prepared.TABLE, path.stem): path for path in sorted(prepared.folder(dataset.name).glob("*.parquet"))}
    conclude(expectations.validate(tables, files, dataset.timezone), "prepared", dataset.name)


if __name__ == "__main__":
    exit_on_error(main)
