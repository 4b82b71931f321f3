"""`kiban check`: every configuration, and the whole graph on few rows."""

import click

ROWS = 1000


@click.command()
@click.option("--rows", default=ROWS, show_default=True, type=click.IntRange(min=1), help="How many rows to run on.")
def check(rows: int) -> None:
    """Check every configuration under conf/, and run the whole graph on few rows, in a folder of its own.

    Settings, contracts, features and sources of every dataset and overlay are read; no source is reached. The rows are
    of the snapshots that are here or in the store. Nothing here is changed.

    \b
    Examples:
      kiban check
      kiban check --rows 20000
    """
    from kiban.core.store import PATIENCE
    from kiban.maintain import check

    print(f"check: {', '.join(check.check_configurations())} are valid", flush=True)
    reason = check.run_on_few(rows, PATIENCE)
    print(f"check: the graph was not run: {reason}" if reason else f"check: the graph runs on {rows:,} rows")
