"""`kiban data`: which data there is, and what differs between two versions of it."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from kiban import ledger, prepared, verdict
from kiban.cli.tables import show
from kiban.errors import KibanError
from kiban.settings.base import Sections, read
from kiban.settings.dataset import Identity
from kiban.settings.validation import OnFailure, Validation

if TYPE_CHECKING:
    from kiban.changes import TableChanges


class Params(Sections):
    dataset: Identity
    validation: Validation


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def data(context: click.Context, as_json: bool) -> None:
    """List the batches: rows, size, hash, when and from where they were taken, whether they are good, and the commit
    that brought them in."""
    if context.invoked_subcommand is None:
        params = read(Params)
        batches = listed(params.dataset.name, params.validation.on_failure)
        if as_json:
            print(json.dumps(batches, indent=1, ensure_ascii=False))
        else:
            _print_batches(batches)


def listed(dataset: str, on_failure: OnFailure) -> list[dict[str, Any]]:
    """One record a batch, the raw tables first, then `prepared`; what is not known is None."""
    from kiban import versions

    path = ledger.ledger_path(dataset)
    commits, state = versions.brought_in_by(path), _states("raw", on_failure)
    records = [
        {
            "table": table,
            "batch": batch,
            **entry.model_dump(),
            "state": state(table, batch, entry.sha256),
            "commit": commits.get(f"sha256: {entry.sha256}"),
        }
        for table, entries in ledger.read(path).items()
        for batch, entry in entries.items()
    ]
    report = versions.read_report()
    commits, state = versions.brought_in_by(prepared.REPORT), _states("prepared", on_failure)
    unknown = dict.fromkeys(("rows", "bytes", "sha256", "source", "taken_at", "commit"))
    for batch, of in report["batches"].items():
        file = prepared.batch_file(dataset, batch)
        known = {
            "rows": of["rows"],
            "bytes": file.stat().st_size if file.exists() else None,
            "sha256": of["sha256"],
            "state": state(prepared.TABLE, batch, of["sha256"]),
            "commit": commits.get(f'"sha256": "{of["sha256"]}"'),
        }
        records.append({"table": prepared.TABLE, "batch": batch, **unknown, **known})
    for batch in report["quarantined"]:
        records.append({"table": prepared.TABLE, "batch": batch, **unknown, "state": "quarantined"})
    return records


def _states(level: verdict.Level, on_failure: OnFailure) -> Callable[[str, str, str], str]:
    """What the last validation says of a table's batch of this hash."""
    try:
        found = verdict.read(level)
    except KibanError:
        return lambda *_: "not checked"

    def state(table: str, batch: str, digest: str) -> str:
        if found.rejected.get(table, {}).get(batch) == digest:
            return "quarantined" if on_failure == "quarantine" else "rejected"
        return "validated" if found.accepted.get(table, {}).get(batch) == digest else "not checked"

    return state


def _print_batches(batches: list[dict[str, Any]]) -> None:
    from rich.filesize import decimal

    for name in dict.fromkeys(batch["table"] for batch in batches):
        of_table = [batch for batch in batches if batch["table"] == name]
        sources = sorted({batch["source"] for batch in of_table if batch["source"]})
        one = f", from {sources[0]}" if len(sources) == 1 else ""
        title = f"{name}: {sum(batch['rows'] or 0 for batch in of_table):,} rows{one}"
        rows = [
            [
                batch["batch"],
                _or_dash(batch["rows"], "{:,}".format),
                _or_dash(batch["bytes"], decimal),
                _or_dash(batch["sha256"], lambda digest: digest[:12]),
                _or_dash(batch["taken_at"], lambda at: at[:16].replace("T", " ")),
                *([_or_dash(batch["source"], str)] if len(sources) > 1 else []),
                batch["state"],
                _or_dash(batch["commit"], str),
            ]
            for batch in of_table
        ]
        source = ["from"] if len(sources) > 1 else []
        show(title, ["batch", "rows", "size", "sha256", "taken (UTC)", *source, "state", "commit"], rows)


def _or_dash(value: Any, text: Callable[[Any], str]) -> str:
    return "-" if value is None else text(value)


@data.command()
@click.argument("old")
@click.argument("new", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def diff(old: str, new: str | None, as_json: bool) -> None:
    """Tell what changed in the data from revision OLD to NEW, or to the working tree: batches, rows, columns."""
    from kiban import changes, versions

    found = changes.between(versions.version(old), versions.version(new))
    if as_json:
        print(json.dumps({table: of.model_dump(mode="json") for table, of in found.items()}, indent=1))
        return
    for name, of in found.items():
        _print_changes(name, of)
    if not found:
        print(f"the data of {old} and {new or 'the working tree'} are the same")


def _print_changes(table: str, of: "TableChanges") -> None:
    print(f"{table}: {of.rows[0]:,} → {of.rows[1]:,} rows")
    if of.added:
        print(f"  batches added: {', '.join(of.added)}")
    if of.removed:
        print(f"  batches removed: {', '.join(of.removed)}")
    for batch, rows in of.changed.items():
        print(f"  batch {batch} changed: {rows.in_words()}")
    for column, (before, after) in of.columns.items():
        print(f"  column {column}: {before or 'none'} → {after or 'none'}")
    if of.moved:
        moved = [[name, *("\n".join(each.in_words()) for each in pair)] for name, pair in of.moved.items()]
        show("", ["column", "before", "after"], moved)
