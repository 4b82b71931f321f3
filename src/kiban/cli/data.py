"""`kiban data`: lists the batches, and shows the differences between two versions of the data."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from kiban.cli import reasons
from kiban.cli.tables import show
from kiban.core.settings import Sections, read
from kiban.core.text import plain
from kiban.data.settings import Identity
from kiban.validate.settings import Validation

if TYPE_CHECKING:
    from kiban.review.changes import TableChanges


class Params(Sections):
    dataset: Identity
    validation: Validation


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def data(context: click.Context, as_json: bool) -> None:
    """List the batches: rows, size, hash, source, time at which they were taken, state of validation, and the commit
    that added them.

    \b
    Examples:
      kiban data
      kiban data --json
    """
    if context.invoked_subcommand is None:
        from kiban.review.batches import listed

        params = read(Params)
        batches = listed(params.dataset.name, params.validation.on_failure)
        if as_json:
            print(json.dumps(batches, indent=1, ensure_ascii=False))
        else:
            _print_batches(batches)


def _print_batches(batches: list[dict[str, Any]]) -> None:
    from rich.filesize import decimal

    for name in dict.fromkeys(batch["table"] for batch in batches):
        table_batches = [batch for batch in batches if batch["table"] == name]
        sources = sorted({batch["source"] for batch in table_batches if batch["source"]})
        origin = f", from {sources[0]}" if len(sources) == 1 else ""
        title = f"{name}: {sum(batch['rows'] or 0 for batch in table_batches):,} rows{origin}"
        rows = [
            [
                batch["batch"],
                _or_dash(batch["rows"], "{:,}".format),
                _or_dash(batch["bytes"], decimal),
                _or_dash(batch["sha256"], lambda digest: digest[:12]),
                _or_dash(batch["taken_at"], lambda time: time[:16].replace("T", " ")),
                *([_or_dash(batch["source"], str)] if len(sources) > 1 else []),
                batch["state"],
                _or_dash(batch["commit"], str),
            ]
            for batch in table_batches
        ]
        source = ["from"] if len(sources) > 1 else []
        show(title, ["batch", "rows", "size", "sha256", "taken (UTC)", *source, "state", "commit"], rows)


def _or_dash(value: Any, text: Callable[[Any], str]) -> str:
    return "-" if value is None else text(value)


@data.command("leave-out")
@click.argument("batch")
@click.argument("reason", required=False, callback=reasons.reason)
@click.option("--end", is_flag=True, help="Count the batch again.")
def leave_out(batch: str, reason: str | None, end: bool) -> None:
    """Let no model learn from BATCH, nor be measured by it, for a REASON. Features still look back on it.

    The ledger keeps the reason. `dvc repro` then makes the model anew.

    \b
    Examples:
      kiban data leave-out 2013-02 "the airport was closed for a week"
      kiban data leave-out 2013-02 --end
    """
    from kiban.core import paths
    from kiban.ingest import ledger

    if (reason is None) != end:
        raise click.UsageError("give a REASON, or --end")
    path = paths.ledger(read(Params).dataset.name)
    with ledger.locked(path):
        recorded = ledger.read(path)
        ledger.leave_out(recorded, batch, reason)
        ledger.write(path, recorded)
    print(f"{batch}: {'counts again' if end else 'left out'}; `dvc repro` makes the model anew")


@data.command()
@click.argument("old")
@click.argument("new", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(old: str, new: str | None, as_json: bool) -> None:
    """Show the changes of the data from revision OLD to NEW, or to the working tree: batches, rows and columns.

    \b
    Examples:
      kiban data diff main
      kiban data diff v1 v2 --json
    """
    from kiban.review.changes import between
    from kiban.review.revision import Revision

    before, after = Revision(old), Revision(new)
    changes = between(before, after)
    if as_json:
        print(json.dumps({table: change.model_dump(mode="json") for table, change in changes.items()}, indent=1))
        return
    for name, change in changes.items():
        _print_changes(name, change)
    if not changes:
        print(f"the data of {old} and {after.label} are the same")


def _print_changes(table: str, changes: "TableChanges") -> None:
    print(f"{plain(table)}: {changes.rows[0]:,} → {changes.rows[1]:,} rows")
    if changes.added:
        print(f"  batches added: {plain(', '.join(changes.added), 2000)}")
    if changes.removed:
        print(f"  batches removed: {plain(', '.join(changes.removed), 2000)}")
    for batch, rows in changes.changed.items():
        print(f"  batch {plain(batch)} changed: {rows.in_words()}")
    for column, (before, after) in changes.columns.items():
        print(f"  column {plain(column)}: {before or 'none'} → {after or 'none'}")
    if changes.moved:
        sides = ["old batches", "added batches"] if changes.added else ["before", "after"]
        moved = [
            [name, *("\n".join(summary.in_words()) for summary in (pair.before, pair.after)), f"{pair.effect:.2f}"]
            for name, pair in changes.moved.items()
        ]
        show("", ["column", *sides, "effect"], moved)
