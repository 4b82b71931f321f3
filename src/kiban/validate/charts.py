"""Small charts of the columns of a table over time, as the coordinates of SVG."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from kiban.core.text import plain
from kiban.data.distance import OTHERS, Values
from kiban.data.sketch import HOURS, Sketch

WIDTH, HEIGHT = 240, 80
MOST_LINES = 3  # levels in one chart


class Chart(NamedTuple):
    """A column over time: `lines` and `band` are the points of polylines and a polygon of SVG, in words `caption`."""

    column: str
    caption: str
    lines: list[str]
    band: str


def charts(sketches: Sequence[Sketch]) -> Iterator[Chart]:
    """A chart for each column: the middle of its numbers, or the shares of its most frequent levels, a point a week."""
    weeks = [week for sketch in sketches for week in sketch.weeks]
    if len(weeks) < 2:
        return
    start = weeks[0].first
    places = [(week.first - start).days for week in weeks]
    across = [WIDTH * place / max(places[-1], 1) for place in places]
    rows = [week.rows_a_day for week in weeks]
    yield Chart("", f"rows a day: {min(rows):,.0f} to {max(rows):,.0f}", [_points(across, rows, 0, max(rows))], "")
    for name in weeks[-1].columns:
        values = [week.columns.get(name) for week in weeks]
        present = [(x, each) for x, each in zip(across, values, strict=True) if each is not None]
        if name != HOURS and (chart := of_column(name, present)):
            yield chart


def of_column(name: str, values: Sequence[tuple[float, Values]]) -> Chart | None:
    """The chart of a column whose `values` are at these places across; None if there are none."""
    if any(each.quantiles for _, each in values):
        return _of_numbers(name, values)
    return _of_levels(name, values) if any(each.shares for _, each in values) else None


def _of_numbers(name: str, values: Sequence[tuple[float, Values]]) -> Chart:
    known = [(x, np.quantile(each.quantiles, (0.05, 0.5, 0.95))) for x, each in values if each.quantiles]
    across = [x for x, _ in known]
    low, middle, high = (list(column) for column in zip(*(each for _, each in known), strict=True))
    bottom, top = min(low), max(high)
    band = f"{_points(across, low, bottom, top)} {_points(across[::-1], high[::-1], bottom, top)}"
    caption = f"median {_least_and_most(middle)}, 90 % within {bottom:.4g} to {top:.4g}{_nulls(values)}"
    return Chart(name, caption, [_points(across, middle, bottom, top)], band)


def _of_levels(name: str, values: Sequence[tuple[float, Values]]) -> Chart:
    known = [(x, each.shares) for x, each in values if each.shares]
    names = {level for _, shares in known for level in shares if level != OTHERS}
    means = {level: float(np.mean([shares.get(level, 0.0) for _, shares in known])) for level in names}
    top = sorted(means, key=lambda level: (-means[level], level))[:MOST_LINES]
    across = [x for x, _ in known]
    lines = [[shares.get(level, 0.0) for _, shares in known] for level in top]
    most = max(max(line) for line in lines)
    shown = ", ".join(
        f"{plain(level, 30)} {min(line):.0%} to {max(line):.0%}" for level, line in zip(top, lines, strict=True)
    )
    return Chart(name, f"{shown}{_nulls(values)}", [_points(across, line, 0, most) for line in lines], "")


def _nulls(values: Sequence[tuple[float, Values]]) -> str:
    shares = [each.nulls for _, each in values]
    return f"; null {min(shares):.0%} to {max(shares):.0%}" if max(shares) else ""


def _least_and_most(values: Sequence[float]) -> str:
    least, most = f"{min(values):.4g}", f"{max(values):.4g}"
    return least if least == most else f"{least} to {most}"


def _points(across: Sequence[float], values: Sequence[float], bottom: float, top: float) -> str:
    height = (top - bottom) or 1
    return " ".join(
        f"{x:.1f},{HEIGHT - HEIGHT * (value - bottom) / height:.1f}" for x, value in zip(across, values, strict=True)
    )
