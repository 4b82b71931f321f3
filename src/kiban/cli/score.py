"""`kiban score`: writes a table with the model's predictions, which are those that the endpoint would make."""

import signal
import sys
from pathlib import Path

import click

from kiban.cli.places import Place
from kiban.core import paths
from kiban.core.text import plain

MOST_LABELS = 3


@click.command()
@click.argument("source", metavar="INPUT", type=Place())
@click.argument("target", metavar="OUTPUT", type=Place())
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="If the model's contract rejects a row: write nothing (stop), or leave the row out and write it with the "
    "reason to OUTPUT.rejected.csv (skip).",
)
@click.option(
    "--servable",
    "folder",
    type=Place(file_okay=False, path_type=Path),
    default=paths.SERVABLE,
    show_default=True,
    help="The folder of the servable.",
)
@click.option("--log", is_flag=True, help="Write the predictions to the prediction log too, with the keys of the rows.")
@click.option("--any-model", is_flag=True, help="Score with a model that this repository did not make.")
def score(source: str, target: str, on_error: str, folder: Path, log: bool, any_model: bool) -> None:
    """Write INPUT with the model's predictions to OUTPUT: its columns, then those of the model, then model_id.

    The model's columns are probability and label (yes or no), label and probability.LEVEL of each level, or value, low
    and high (a number). Where INPUT has such a name, `predicted ` stands before them.

    INPUT is any file that `kiban init` takes, OUTPUT is CSV or Parquet, on this machine or on S3 (s3://BUCKET/PATH).
    Rows are checked as the endpoint checks them. Columns that the model does not know are copied. The column of a
    nullable feature may be absent. OUTPUT is written whole or not at all.

    \b
    Examples:
      kiban score flights.parquet scored.parquet
      kiban score s3://bucket/flights.csv scored.csv --on-error skip
    """
    from kiban.request import logged, origin
    from kiban.score.run import rejected_path, score_file
    from kiban.servable.load import load
    from kiban.sources import stores

    for end_signal in (signal.SIGTERM, signal.SIGHUP):  # exit by an exception, so that incomplete files are removed
        signal.signal(end_signal, lambda number, _: sys.exit(128 + number))
    servable, rejected = load(folder), rejected_path(target)
    if not any_model:
        origin.check(Path(), servable.model_id, "give --any-model")
    log_folder = logged.folder(Path()) if log else None
    counts = score_file(source, target, servable, skip=on_error == "skip", log=log_folder)
    if counts.absent:
        click.echo(f"absent columns, null in every row: {', '.join(counts.absent)}", err=True)
    for name, number in counts.unusual.items():
        click.echo(f"warning: {number:,} values of {name} are outside what the contract expects", err=True)
    labels = counts.labels.most_common(MOST_LABELS)
    if set(counts.labels) <= {"true", "false"}:
        labels = [("true", counts.labels["true"])] if counts.labels else []
    shares = [f"{number / counts.rows:.1%} labelled {plain(label)}" for label, number in labels]
    share = "".join(f", {each}" for each in shares)
    print(f"score: {counts.rows:,} rows by model {servable.model_id[:12]}{share}: {target}")
    if on_error == "skip":
        print(f"score: {counts.rejected:,} rows rejected: {rejected}")
    elif stores.system(rejected).exists(rejected):
        click.echo(f"warning: {rejected} is from an earlier run", err=True)
