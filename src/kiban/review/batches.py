"""The list of batches, with the facts about each."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.git import git
from kiban.data import prepared, verdict
from kiban.ingest import ledger
from kiban.review.revision import Revision
from kiban.validate.settings import OnFailure


def listed(dataset: str, on_failure: OnFailure) -> list[dict[str, Any]]:
    """A record for each batch, those of raw tables first, then those of `prepared`. An unknown value is None."""
    path = paths.ledger(dataset)
    commits, state = _brought_in_by(path), _states("raw", on_failure)
    records = [
        {
            "table": table,
            "batch": batch,
            **entry.model_dump(exclude={"md5", "left_out", "accepted"}),
            "state": state(table, batch, entry.sha256),
            "commit": commits.get(f"sha256: {entry.sha256}"),
        }
        for table, entries in ledger.read(path).items()
        for batch, entry in entries.items()
    ]
    account = Revision(None).account
    commits, state = _brought_in_by(paths.DATA), _states("prepared", on_failure)
    unknown = dict.fromkeys(("rows", "bytes", "sha256", "source", "taken_at", "commit"))
    for batch, entry in account.batches.items():
        file = paths.prepared_file(dataset, batch)
        facts = {
            "rows": entry.rows,
            "bytes": file.stat().st_size if file.exists() else None,
            "sha256": entry.sha256,
            "state": state(prepared.TABLE, batch, entry.sha256),
            "commit": commits.get(f'"sha256": "{entry.sha256}"'),
        }
        records.append({"table": prepared.TABLE, "batch": batch, **unknown, **facts})
    for batch in account.quarantined:
        records.append({"table": prepared.TABLE, "batch": batch, **unknown, "state": "quarantined"})
    return records


def _states(level: verdict.Level, on_failure: OnFailure) -> Callable[[str, str, str | None], str]:
    """A function that gives the state of a batch, by table, name and hash, from the last validation."""
    try:
        last_verdict = verdict.read(level)
    except KibanError:
        return lambda *_: "not checked"

    def state(table: str, batch: str, digest: str | None) -> str:
        if batch in last_verdict.left_out:
            return "left out"
        if last_verdict.rejected.get(table, {}).get(batch) == digest:
            return "quarantined" if on_failure == "quarantine" else "rejected"
        return "validated" if last_verdict.accepted.get(table, {}).get(batch) == digest else "not checked"

    return state


def _brought_in_by(path: Path) -> dict[str, str]:
    """The abbreviated commit that added each line of a tracked file, without the lines that are not committed."""
    try:
        blame_lines = git(Path(), "blame", "--line-porcelain", "--", str(path)).splitlines()
    except (OSError, subprocess.CalledProcessError):
        return {}
    commits: dict[str, str] = {}
    commit = ""
    for number, line in enumerate(blame_lines):
        if line.startswith("\t"):
            if commit.strip("0"):
                commits[line.strip()] = commit[:7]
        elif number == 0 or blame_lines[number - 1].startswith("\t"):
            commit = line.split()[0]
    return commits
