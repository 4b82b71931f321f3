"""`kiban erase`: forgets rows, wherever this clone and its stores have them."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from kiban.cli import reasons
from kiban.cli.places import Place
from kiban.core import paths
from kiban.core.settings import Sections, read
from kiban.sources.settings import Dataset

if TYPE_CHECKING:
    from kiban.maintain.erase import Erased
    from kiban.maintain.holders import Holding


class Params(Sections):
    dataset: Dataset


@click.command()
@click.option(
    "--keys", "path", type=Place(), metavar="PATH", help="Rows with some columns of a raw table (CSV, Parquet)."
)
@click.option("--by-age", is_flag=True, help="Erase the rows that are older than retention_months of their table.")
@reasons.now
@click.option("--reason", callback=reasons.reason, help="Why; it is kept in git, so it must not say who.")
@click.option("--source-forgets", is_flag=True, help="The source has forgotten the rows too: no secret is needed.")
@click.option("--dry-run", is_flag=True, help="Say what holds these keys, and change nothing.")
def erase(
    path: str | None, by_age: bool, now: datetime, reason: str | None, source_forgets: bool, dry_run: bool
) -> None:
    """Erase every row with one of the keys in a file: from data, predictions, logs, runs, the cache and the stores, for
    all commits. Their hashes stay in git, and what was erased is named in data/erased.yaml.

    With KIBAN_ERASE_SECRET in the environment, the rows do not come back from a source that still has them. Without
    --keys and --by-age, what data/erased.yaml names is removed once more, as in a clone that has just got it.

    \b
    Examples:
      kiban erase --keys forget.csv --dry-run
      kiban erase --keys forget.csv --reason "asked for by their owner"
      kiban erase --by-age --reason "24 months are over"
      kiban erase
    """
    from kiban.data import contract
    from kiban.ingest import forgotten
    from kiban.maintain import erase as operation
    from kiban.maintain import holders

    if path and by_age:
        raise click.UsageError("give --keys PATH or --by-age")
    if path is None and not by_age:
        if reason or dry_run:
            raise click.UsageError("give --keys PATH or --by-age")
        print(f"erase: {len(operation.remove_again()):,} objects are not here, nor in the stores")
        return
    if not dry_run and reason is None:
        raise click.UsageError("give --reason, or --dry-run")
    if path and not dry_run and not source_forgets and forgotten.secret() is None:
        raise click.UsageError(
            f"set {forgotten.SECRET}, so that a source that still has the rows does not bring them back, or give "
            "--source-forgets"
        )
    params = read(Params)
    dataset = params.dataset
    asked: Holding
    if path:
        asked, tables = holders.read(path, contract.read_raw(paths.raw_contract(dataset.name)))
    else:
        asked, tables = operation.too_old(dataset, now)
    if dry_run:
        _show(operation.find(asked, dataset, tables)[1], "hold")
        return
    _show(operation.erase(asked, dataset, tables, reason or "", now.date()), "held")
    print("erase: now `dvc repro`, look, and commit data/, monitoring/ and dvc.lock; `kiban push` sends the rest")


def _show(erased: "Erased", verb: str) -> None:
    from kiban.maintain.erase import KEPT_ELSEWHERE

    for table, batches in erased.batches.items():
        print(f"{table}: {', '.join(batches) or 'no batch'} of this version")
    print(f"{len(erased.objects):,} objects of DVC, of all versions, {verb} something of it")
    for name in (*map(str, erased.files), *erased.copies):
        print(f"  {name}")
    print(f"models that have learnt from these batches: {', '.join(erased.models) or 'none with a version'}")
    for each in (*erased.problems, *KEPT_ELSEWHERE):
        print(f"not reached: {each}")
