"""The findings of validation for readers: a table on the terminal, and an HTML page."""

import importlib.resources
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jinja2
from rich.console import Console
from rich.table import Table

from kiban.data.sketch import Sketch
from kiban.data.verdict import Finding, Verdict
from kiban.validate.charts import HEIGHT, WIDTH, charts
from kiban.validate.compare import LEAST_BATCHES, LEAST_DAYS

State = Literal["passed", "warned", "rejected"]


def page(verdict: Verdict, title: str, over_time: Mapping[str, Sequence[Sketch]]) -> str:
    """The verdict as one self-contained HTML page: without scripts, external files, times or ids.

    It shows the batches of each table, what is expected of them, and the columns of those `over_time`.
    """
    template = importlib.resources.files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    tables = [_table(verdict, name, over_time.get(name, [])) for name in verdict.expectations]
    return environment.from_string(template).render(
        verdict=verdict,
        title=title,
        tables=tables,
        shown=shown,
        least_batches=LEAST_BATCHES,
        least_days=LEAST_DAYS,
        width=WIDTH,
        height=HEIGHT,
    )


def _table(verdict: Verdict, name: str, over_time: Sequence[Sketch]) -> dict[str, Any]:
    """What the page shows of a table."""
    findings = [finding for finding in verdict.findings if finding.table == name]
    batches = sorted(
        {*verdict.accepted.get(name, {}), *verdict.rejected.get(name, {}), *(each.batch for each in findings)}
    )
    rows = verdict.rows.get(name, {})
    return {
        "name": name,
        "batches": [{"name": batch, "state": _state(findings, batch), "rows": rows.get(batch)} for batch in batches],
        "expectations": [
            {
                "column": expected.column,
                "text": expected.expectation,
                "results": _results(
                    [
                        each
                        for each in findings
                        if (each.column, each.expectation) == (expected.column, expected.expectation)
                    ],
                    batches,
                ),
            }
            for expected in verdict.expectations[name]
        ],
        "uncompared": verdict.uncompared.get(name, []),
        "charts": list(charts(over_time)),
    }


def _results(findings: Sequence[Finding], batches: Sequence[str]) -> dict[State, list[str]]:
    """The batches by the state that the findings of one expectation give them."""
    by_state: dict[State, list[str]] = {}
    for batch in batches:
        by_state.setdefault(_state(findings, batch), []).append(batch)
    return by_state


def _state(findings: Sequence[Finding], batch: str) -> State:
    severities = {finding.severity for finding in findings if finding.batch == batch}
    return "rejected" if "reject" in severities else "warned" if severities else "passed"


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
