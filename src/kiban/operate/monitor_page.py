"""The report of the monitor as one self-contained HTML page: without scripts or external files."""

import importlib.resources
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jinja2

from kiban.operate.monitor import Seen
from kiban.operate.windows import Window
from kiban.servable.reference import Block
from kiban.validate.charts import HEIGHT, WIDTH, Chart, of_column


class Shown(NamedTuple):
    """The chart of a column; what was asked begins at the place `since` across it."""

    chart: Chart
    since: float
    is_unusual: bool


def page(seen: Seen, dataset: str) -> str:
    template = importlib.resources.files(__package__).joinpath("monitor.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    before = seen.model.reference.blocks if seen.model.reference else []
    columns = list(_columns(seen.report.windows, before, seen.blocks)) if before and seen.blocks else []
    return environment.from_string(template).render(
        report=seen.report, dataset=dataset, columns=columns, width=WIDTH, height=HEIGHT
    )


def _columns(windows: Sequence[Window], before: Sequence[Block], asked: Sequence[Block]) -> Iterator[Shown]:
    """The columns, those first that are furthest beyond what is usual in the last week."""
    apart = dict.fromkeys(asked[-1].columns, 0.0)
    for each in windows[-1].drift:
        apart[each.column] = max(apart.get(each.column, 0.0), each.size / each.limit)
    blocks = [*before, *asked]
    across = [WIDTH * place / max(1, len(blocks) - 1) for place in range(len(blocks))]
    since = across[min(len(before), len(blocks) - 1)]
    for name in sorted(apart, key=lambda name: (-apart[name], name)):
        values = [(x, block.columns[name]) for x, block in zip(across, blocks, strict=True) if name in block.columns]
        if chart := of_column(name, values):
            yield Shown(chart, since, apart[name] > 1)
