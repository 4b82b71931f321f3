"""Which batches there are, and what is known of each."""

from collections.abc import Callable
from typing import Any

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import prepared, verdict
from kiban.ingest import ledger
from kiban.review import revision
from kiban.validate.settings import OnFailure


def listed(dataset: str, on_failure: OnFailure) -> list[dict[str, Any]]:
    """One record a batch, the raw tables first, then `prepared`; what is not known is None."""
    path = paths.ledger(dataset)
    commits, state = revision.brought_in_by(path), _states("raw", on_failure)
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
    report = revision.read_report()
    commits, state = revision.brought_in_by(paths.DATA), _states("prepared", on_failure)
    unknown = dict.fromkeys(("rows", "bytes", "sha256", "source", "taken_at", "commit"))
    for batch, of in report["batches"].items():
        file = paths.prepared_file(dataset, batch)
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
