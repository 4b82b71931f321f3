"""`kiban score`: writes a table with the model's predictions, which are those that the endpoint would make."""

import secrets
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from kiban.cli.places import Place
from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, read
from kiban.core.text import plain
from kiban.sources.settings import Dataset

MOST_LABELS = 3


class Params(Sections):
    dataset: Dataset


@click.command()
@click.argument("source", metavar="[INPUT]", required=False, type=Place())
@click.argument("target", metavar="[OUTPUT]", required=False, type=Place())
@click.option(
    "--from-source", is_flag=True, help="Answer about the rows that the dataset's source has and the ledger lacks."
)
@click.option("--backfill", metavar="A..B", help="Answer about the rows of accepted batches, as they were known then.")
@click.option("--to", "table", metavar="TABLE", help="With one of these two: the table of a database for the answers.")
@click.option(
    "--url-env", metavar="NAME", help="The variable with the URL of that database; else the one of the source."
)
@click.option("--version", help="A version in the place of the model in production, for --backfill.")
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
def score(
    source: str | None,
    target: str | None,
    from_source: bool,
    backfill: str | None,
    table: str | None,
    url_env: str | None,
    version: str | None,
    on_error: str,
    folder: Path,
    log: bool,
    any_model: bool,
) -> None:
    """Write INPUT with the model's predictions to OUTPUT: its columns, then those of the model, then model_id.

    The model's columns are probability and label (yes or no), label and probability.LEVEL of each level, or value, low
    and high (a number). Where INPUT has such a name, `predicted ` stands before them.

    INPUT is any file that `kiban init` takes, OUTPUT is CSV or Parquet, on this machine or on S3 (s3://BUCKET/PATH).
    Rows are checked as the endpoint checks them. Columns that the model does not know are copied. The column of a
    nullable feature may be absent. OUTPUT is written whole or not at all.

    With --from-source or --backfill the model in production answers, and the answers go to a table of a database: a row
    for each key and model, which is replaced if the answer is another one.

    \b
    Examples:
      kiban score flights.parquet scored.parquet
      kiban score s3://bucket/flights.csv scored.csv --on-error skip
      kiban score --from-source --to delays --log
      kiban score --backfill 2013-10..2013-12 --version v0.2.0 --to delays
    """
    if from_source or backfill:
        if source or not table or (from_source and (backfill or version)):
            raise click.UsageError("give --from-source or --backfill A..B, with --to TABLE and without INPUT")
        _to_table(table, url_env, backfill, version, on_error == "skip", log)
        return
    if source is None or target is None or table or url_env or version:
        raise click.UsageError("give INPUT and OUTPUT, or --from-source or --backfill with --to TABLE")
    _to_file(source, target, on_error == "skip", folder, log, any_model)


def _to_file(source: str, target: str, skip: bool, folder: Path, log: bool, any_model: bool) -> None:
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
    counts = score_file(source, target, servable, skip, log_folder)
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
    if skip:
        print(f"score: {counts.rejected:,} rows rejected: {rejected}")
    elif stores.system(rejected).exists(rejected):
        click.echo(f"warning: {rejected} is from an earlier run", err=True)


def _to_table(
    table: str, url_env: str | None, backfill: str | None, version: str | None, skip: bool, log: bool
) -> None:
    """Write answers to a table of a database, batch by batch, and those that are new or others to the log."""
    from kiban.operate import answer_table, answers
    from kiban.request import logged, new_rows
    from kiban.score.run import log_file
    from kiban.sources.database import Database

    params = read(Params)
    dataset, now = params.dataset, datetime.now(UTC)
    options = dataset.tables[new_rows.table_asked_about(dataset)].source.options
    if not (name := url_env or options.get("url_env")):
        raise click.UsageError("give --url-env NAME: the source is no database")
    database, run = Database(str(name)), f"score-{secrets.token_hex(8)}"
    if backfill:
        first, dots, last = backfill.partition("..")
        asked = answers.past(dataset, first, last if dots else first)
    else:
        asked = answers.new(dataset, now)
    is_empty = True
    with answers.model(version) as servable:
        for batch, rows in asked:
            is_empty = False
            given = answers.answered(servable, batch, rows)
            if given.rejected and not skip:
                row, reason = next(iter(given.rejected.items()))
                raise KibanError(
                    f"{batch}, row {row}: {reason}. Nothing of this batch was written: correct it, or --on-error skip"
                )

            def write_log(places: list[int], given: answers.Answered = given) -> None:
                if log and places:
                    with log_file(logged.folder(Path())) as file:
                        file.writelines(answers.lines(servable, given, places, run, now))

            changed = answer_table.write(database, table, given.rows, answers.key_of(servable), now, write_log)
            rejected = f", {len(given.rejected):,} rejected" if given.rejected else ""
            answered = f"{given.rows.num_rows:,} answers by model {servable.model_id[:12]}"
            print(f"score: {batch}: {answered}, {len(changed):,} new or changed{rejected}: {table}")
    if is_empty:
        print("score: the source has no batch that the ledger lacks")
