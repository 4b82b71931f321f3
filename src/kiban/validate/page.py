"""The findings of validation for readers: a table on the terminal, and an HTML page."""

import importlib.resources
from collections.abc import Sequence
from typing import Any

import jinja2
from rich.console import Console
from rich.table import Table

from kiban.data.verdict import Finding, Verdict
from kiban.validate.compare import LEAST_BATCHES


def page(verdict: Verdict, title: str) -> str:
    """The verdict as one self-contained HTML page: without scripts, external files, times or ids."""
    template = importlib.resources.files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    rejected = {(finding.table, finding.batch) for findings in verdict.reasons().values() for finding in findings}
    warned = {(finding.table, finding.batch) for finding in verdict.findings} - rejected
    batches = sorted({(table, batch) for table, hashes in verdict.accepted.items() for batch in hashes} | rejected)
    states = [
        (table, batch, "rejected" if (table, batch) in rejected else "warned" if (table, batch) in warned else "passed")
        for table, batch in batches
    ]
    return environment.from_string(template).render(
        verdict=verdict, title=title, states=states, shown=shown, least_batches=LEAST_BATCHES
    )


def shown(examples: Sequence[dict[str, Any]]) -> str:
    """Examples as one line of text."""
    return "; ".join(", ".join(f"{name}={value}" for name, value in example.items()) for example in examples)


def print_findings(dataset: str, findings: Sequence[Finding]) -> None:
    """Print findings as a table of 100 columns on standard error, rejections first."""
    table = Table(title=f"Validation of {dataset}", title_justify="left", show_lines=True)
    for name in ("batch", "column", "expectation", "rows", "offending values with their keys"):
        table.add_column(name, justify="right" if name == "rows" else "left", overflow="fold")
    for finding in sorted(findings, key=lambda finding: (finding.severity, finding.table, finding.batch)):
        mark = "" if finding.severity == "reject" else "\n(warning)"
        table.add_row(
            f"{finding.table}\n{finding.batch}{mark}",
            finding.column or "-",
            _in_words(finding.expectation),
            "-" if finding.rows is None else f"{finding.rows:,}",
            shown(finding.examples[:3]) or finding.observed or "",
        )
    # The width is fixed because the table is also read in the logs of CI.
    Console(width=100, stderr=True, markup=False, highlight=False).print(table)


def _in_words(expectation: str) -> str:
    """`expect_column_values_to_not_be_null()` as `not be null`."""
    kind, _, limits = expectation.partition("(")
    words = kind.removeprefix("expect_").removeprefix("column_values_to_").replace("_", " ")
    return f"{words}\n({limits}" if limits != ")" else words
