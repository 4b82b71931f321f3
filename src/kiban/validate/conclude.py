"""The end of a validation: the verdict and its page are written, and a rejected batch stops what follows, or not."""

import json
import sys

from kiban.core.errors import KibanError
from kiban.core.paths import validation
from kiban.data.verdict import Level, Verdict
from kiban.validate.page import page, print_findings
from kiban.validate.settings import OnFailure


def conclude(verdict: Verdict, level: Level, dataset: str, on_failure: OnFailure) -> None:
    """Write verdict.json and index.html, and print what was found. The same verdict gives the same bytes.

    With `stop` raises KibanError if a batch is rejected; with `quarantine` only warns of it.
    """
    target = validation(level)
    target.mkdir(parents=True, exist_ok=True)
    text = json.dumps(verdict.model_dump(), indent=1, ensure_ascii=False) + "\n"
    (target / "verdict.json").write_text(text, encoding="utf-8")
    (target / "index.html").write_text(page(verdict, f"{dataset}: validation of the {level} data"), encoding="utf-8")
    if verdict.findings:
        print_findings(f"{dataset}, {level} data", verdict.findings)
    rejected = sorted(
        {f"{finding.table} {finding.batch}" for findings in verdict.reasons().values() for finding in findings}
    )
    if not rejected:
        return
    message = (
        f"{', '.join(rejected)} did not pass validation (see {target / 'index.html'}): "
        f"correct the data at its source and take it anew (`kiban ingest --refresh BATCH`, or `--new` where a table "
        f"has no such batch yet), or correct the contract if the data is right"
    )
    if on_failure == "stop":
        raise KibanError(message)
    print(f"WARNING: in quarantine, left out of all that follows: {message}", file=sys.stderr)
