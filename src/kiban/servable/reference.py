"""reference.json: what the rows were like that a model was made with, block by block, by which requests are judged.

A block is a local week, from Monday on, or, where the table has no time, a share of the rows. No value that fewer than
LEAST_ROWS rows have is in the file, and no personal column.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from kiban.core.errors import KibanError
from kiban.data import rules
from kiban.data.contract import Table
from kiban.data.distance import MOST_SHARES, OTHERS, Values
from kiban.servable.columns import TIMES
from kiban.servable.manifest import RESTORE
from kiban.tasks.metric import Scores
from kiban.tasks.task import task_of

FILE = "reference.json"
ANSWER = "the answer"
"""The column of what the model answers: the probability, or the number. Of classes there is one for each level."""

LEAST_ROWS = 20  # of a value or a level that is named, and beyond a quantile
MOST_KNOWN = 400  # distinct values of a column whose values are known
GAP = 4
"""Blocks from a block to the newest that it is compared with: requests come weeks after the last training row."""

MOST_BLOCKS = 24  # of a table without time
ROWS_OF_BLOCK = 60  # at least, of a table without time
MONDAY = date(1969, 12, 29)
PROBABILITIES = (np.arange(20) + 0.5) / 20  # of the quantiles of a block
DIGITS = 4


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # later releases may write more keys


class Block(_Model):
    """The rows of a week, which begins on `first`, or of a share of the table.

    `unknown` is the share of the values, of what is not null, that no block has up to GAP before this one: by column
    whose values are known.
    """

    first: date | None = None
    rows: int
    columns: dict[str, Values]
    unknown: dict[str, float]


class Reference(_Model):
    """The blocks in order, and the values that their rows have, by column with at most MOST_KNOWN of them."""

    timezone: str
    blocks: list[Block]
    known: dict[str, list[str]]

    @property
    def is_by_week(self) -> bool:
        return bool(self.blocks) and self.blocks[0].first is not None

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(self.model_dump_json(exclude_none=True) + "\n", encoding="utf-8")


def read(folder: Path) -> Reference | None:
    """The reference of the servable in a folder, or None: earlier releases wrote none. KibanError if it is damaged."""
    try:
        return Reference.model_validate_json((folder / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise KibanError(f"{folder / FILE} cannot be read: {RESTORE}") from None


def reference(rows: pa.Table, scores: Scores, table: Table, timezone: str) -> Reference:
    """The reference of rows, in the schema of the prepared `table`, and of the model's scores of them."""
    judged = judged_columns(rows, scores, table)
    texts = {name: _texts(judged[name]) for name in judged.column_names if _may_be_known(judged[name])}
    parts = [(first, inside) for first, inside in _blocks(rows, table.time, timezone) if inside.sum() >= 2 * LEAST_ROWS]
    counts: dict[str, list[Counter[str]]] = {
        name: [_counted(values.filter(pa.array(inside))) for _, inside in parts] for name, values in texts.items()
    }
    counts = {name: each for name, each in counts.items() if len(_known(each)) <= MOST_KNOWN}
    blocks = [
        Block(
            first=first,
            rows=int(inside.sum()),
            columns=summary(judged.filter(pa.array(inside))),
            unknown={
                name: _share_unknown(each[number], each[: max(1, number - GAP + 1)]) for name, each in counts.items()
            },
        )
        for number, (first, inside) in enumerate(parts)
    ]
    return Reference(
        timezone=timezone, blocks=blocks, known={name: sorted(_known(each)) for name, each in counts.items()}
    )


def judged_columns(rows: pa.Table, scores: Scores | None, table: Table) -> pa.Table:
    """The columns by which rows are judged: features that are neither times nor personal, and the answers.

    A column that the rows lack is left out.
    """
    names = [
        name
        for name, column in table.features().items()
        if column.type not in TIMES and not column.personal and name in rows.column_names
    ]
    judged = rows.select(names)
    if scores is None:
        return judged
    for place, name in enumerate(answers_of(table)):
        judged = judged.append_column(name, pa.array(scores if scores.ndim == 1 else scores[:, place]))
    return judged


def answers_of(table: Table) -> list[str]:
    """The names of the columns with the answers of a model of a table: one, or one for each level of its target."""
    target = table.columns[table.target()]
    is_multiclass = task_of(target).name == "multiclass"
    return [f"{ANSWER} {level}" for level in target.levels or []] if is_multiclass else [ANSWER]


def block(rows: pa.Table, known: Mapping[str, Sequence[str]]) -> Block:
    """Rows of judged columns as a block without a date; `known` are the values that the reference knows."""
    return Block(rows=rows.num_rows, columns=summary(rows), unknown=unknown(rows, known))


def summary(rows: pa.Table) -> dict[str, Values]:
    """What the values of each column are like, without any that fewer than LEAST_ROWS rows have."""
    return {name: _values(rows[name]) for name in rows.column_names}


def _values(values: pa.ChunkedArray) -> Values:
    nulls = values.null_count / len(values) if len(values) else 0.0
    present = values.drop_null()
    if len(present) < 2 * LEAST_ROWS:
        return Values(nulls=_rounded(nulls))
    if rules.is_text(present.type) or pa.types.is_boolean(present.type):
        return Values(nulls=_rounded(nulls), shares=_shares(_counted(_texts(present)), len(present)))
    numbers = present.to_numpy().astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) < 2 * LEAST_ROWS:
        return Values(nulls=_rounded(nulls))
    beyond = LEAST_ROWS / len(numbers)
    quantiles = np.quantile(numbers, np.clip(PROBABILITIES, beyond, 1 - beyond))
    return Values(nulls=_rounded(nulls), quantiles=[_rounded(value) for value in quantiles])


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _shares(counts: Counter[str], total: int) -> dict[str, float]:
    names = [name for name in sorted(counts, key=lambda name: (-counts[name], name)) if counts[name] >= LEAST_ROWS]
    shares = {name: _rounded(counts[name] / total) for name in names[:MOST_SHARES]}
    others = total - sum(counts[name] for name in names[:MOST_SHARES])
    return shares | ({OTHERS: _rounded(others / total)} if others else {})


def _may_be_known(values: pa.ChunkedArray) -> bool:
    return (
        pa.types.is_integer(values.type)
        or rules.is_text(values.type)
        or pc.count_distinct(values).as_py() <= MOST_KNOWN
    )


def _texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as text, equal for equal numbers of any type."""
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        values = values.cast(pa.float64(), safe=False)
    return values.cast(pa.string())


def _counted(texts: pa.ChunkedArray) -> Counter[str]:
    return Counter({entry["values"]: entry["counts"] for entry in pc.value_counts(texts.drop_null()).to_pylist()})


def _known(counts: Sequence[Counter[str]]) -> set[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return {value for value, number in total.items() if number >= LEAST_ROWS}


def _share_unknown(counts: Counter[str], earlier: Sequence[Counter[str]]) -> float:
    known = _known(earlier)
    return _rounded(sum(number for value, number in counts.items() if value not in known) / max(1, counts.total()))


def unknown(rows: pa.Table, known: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The share of the values of each column that are not among those known, of what is not null."""
    shares = {}
    for name in rows.column_names:
        if name in known:
            texts = _texts(rows[name]).drop_null()
            is_known = pc.is_in(texts, pa.array(known[name], pa.string()))
            shares[name] = 1 - (pc.sum(is_known).as_py() or 0) / len(texts) if len(texts) else 0.0
    return shares


def weeks(times: pa.ChunkedArray, timezone: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The number of the local week of each time: shape (n,). `first_day` gives its Monday."""
    return pc.days_between(pa.scalar(MONDAY), local_days(times, timezone)).to_numpy() // 7


def local_days(times: pa.ChunkedArray, timezone: str) -> pa.ChunkedArray:
    """The local day of each time."""
    return pc.local_timestamp(times.cast(pa.timestamp("us", timezone))).cast(pa.date32())


def first_day(week: int) -> date:
    return MONDAY + timedelta(days=7 * int(week))


def _blocks(
    rows: pa.Table, time: str | None, timezone: str
) -> Iterator[tuple[date | None, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
    """The rows of each block: of each week, or every n-th row."""
    if time is not None:
        numbers = weeks(rows[time], timezone)
        for week in np.unique(numbers):
            yield first_day(week), numbers == week
        return
    blocks = max(1, min(MOST_BLOCKS, rows.num_rows // ROWS_OF_BLOCK))
    for number in range(blocks):
        yield None, np.arange(rows.num_rows) % blocks == number
