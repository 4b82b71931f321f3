"""Writing a comparison as Markdown, for a pull request."""

import html
import importlib.resources
import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2

from kiban.core.text import plain
from kiban.data import prepared
from kiban.data.split import mature
from kiban.data.verdict import LEVELS, Verdict
from kiban.evaluate.bootstrap import Difference
from kiban.review.comparison import Comparison, clear
from kiban.review.revision import Revision
from kiban.tasks.own import every_metric

PICTURES = "<!-- pictures -->"
"""The line before the pictures. A consumer that cannot show pictures cuts the report there."""


MOST_FINDINGS = 20


def markdown(before: Revision, after: Revision, comparison: Comparison, pictures: Mapping[str, str]) -> str:
    """The report, which starts with the judgement. `pictures` are the addresses of the plots, by title."""
    template = importlib.resources.files(__package__).joinpath("report.md.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701
    filters: dict[str, Callable[..., str]] = {"cell": cell, "code": code, "signed": signed, "row": row}
    environment.filters.update(filters)
    findings = [finding for verdict in after.verdicts.values() if verdict for finding in verdict.findings]
    overall = comparison.scores.overall if comparison.scores else {}
    return environment.from_string(template).render(
        clear=dict(zip(("better", "worse"), clear(overall), strict=True)),
        before=before,
        after=after,
        comparison=comparison,
        names=[side.label + (f" ({side.commit[:7]})" if side.commit else "") for side in (before, after)],
        metrics={name: metric.title for name, metric in every_metric().items()},
        figures=_figures(before, after, comparison.gate.split),
        verdicts={level: [_in_words(side.verdicts[level]) for side in (before, after)] for level in LEVELS},
        findings=findings[:MOST_FINDINGS],
        more_findings=max(0, len(findings) - MOST_FINDINGS),
        immature=_immature(after),
        marker=PICTURES,
        pictures=pictures,
    )


def _immature(side: Revision) -> list[str]:
    """The prepared batches that do not count yet."""
    days = side.params.get("split", {}).get("matures", 0)
    known = side.batches[prepared.TABLE]
    return sorted(set(known) - set(mature(known, days)))


def _figures(before: Revision, after: Revision, split: str) -> dict[str, tuple[Any, Any]]:
    """The metrics that each version reported, each measured on its own rows."""
    sides = [side.evaluation.splits[split] for side in (before, after)]
    return {
        name: (sides[0].get(name), sides[1].get(name)) for name in every_metric() if any(name in side for side in sides)
    }


def row(difference: Difference) -> str:
    """The cells of a difference in a Markdown table: before, after, change, interval."""
    interval = f"{signed(difference.low)} to {signed(difference.high)}"
    return f"{difference.before:.4f} | {difference.after:.4f} | {signed(difference.change)} | {interval}"


def signed(value: float) -> str:
    """A number with four decimals and a sign, with U+2212 as the minus sign."""
    return f"{value:+.4f}".replace("-", "−")


def cell(value: Any) -> str:
    """A value as text in a Markdown table, escaped so that it cannot be markup, mention a person or load a picture."""
    if value is None:
        return "–"
    text = (
        html.escape("\n".join(plain(line) for line in str(value).split("\n")), quote=False)
        .replace("@", "&#64;")
        .replace("\\", "\\\\")
    )
    return re.sub(r"([|\[\]`*_])", r"\\\1", text).replace("\r", "").replace("\n", "<br>")


def code(value: Any) -> str:
    """A value as code in a Markdown table."""
    # The beginning of a comment would hide what follows from those who read the report as HTML.
    return "`" + plain(value).replace("`", " ").replace("|", "\\|").replace("<!--", "<! --") + "`"


def _in_words(verdict: Verdict | None) -> str:
    return verdict.in_words() if verdict else "not here"
