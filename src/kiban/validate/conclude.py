"""The end of a validation: writes the verdict and its page, and stops the pipeline if a rejected batch must."""

import json
import sys
from collections.abc import Mapping, Sequence

from kiban.core.errors import KibanError
from kiban.core.paths import validation
from kiban.data.sketch import Sketch
from kiban.data.verdict import LIKE_EARLIER, Level, Verdict
from kiban.validate.page import page, print_findings
from kiban.validate.settings import OnFailure


def conclude(
    verdict: Verdict, level: Level, dataset: str, on_failure: OnFailure, over_time: Mapping[str, Sequence[Sketch]]
) -> None:
    """Write verdict.json and index.html, and print the findings. The same verdict gives the same bytes.

    The page shows the columns of each table `over_time`.

    If a batch is rejected: raises KibanError with `stop`, prints a warning with `quarantine`.
    """
    target = validation(level)
    target.mkdir(parents=True, exist_ok=True)
    text = json.dumps(verdict.model_dump(), indent=1, ensure_ascii=False) + "\n"
    (target / "verdict.json").write_text(text, encoding="utf-8")
    text = page(verdict, f"{dataset}: validation of the {level} data", over_time)
    (target / "index.html").write_text(text, encoding="utf-8")
    if verdict.findings:
        print_findings(f"{dataset}, {level} data", verdict.findings)
    rejected = sorted(
        {f"{finding.table} {finding.batch}" for findings in verdict.reasons().values() for finding in findings}
    )
    if not rejected:
        return
    different = {
        f"{finding.table} {finding.batch}": verdict.rejected[finding.table][finding.batch]
        for finding in verdict.findings
        if finding.severity == "reject" and finding.expectation.startswith(LIKE_EARLIER)
    }
    message = (
        f"{', '.join(rejected)} did not pass validation (see {target / 'index.html'}): "
        f"correct the data at its source and take it again (`kiban ingest --refresh BATCH`, or `--new` if a table "
        f"lacks the batch), or correct the contract if the data is right"
    )
    if different:
        message += (
            "; a batch that differs from earlier ones and is right is taken if validation.history.accept (in "
            "conf/validation) has its SHA-256: " + ", ".join(f"{batch} {sha256}" for batch, sha256 in different.items())
        )
    if on_failure == "stop":
        raise KibanError(message)
    print(f"WARNING: in quarantine, left out of all later stages: {message}", file=sys.stderr)
