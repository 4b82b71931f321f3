"""Rows as a model reads them: one NumPy array for each input.

A feature is one input, and a date or a timestamp one for each of its parts. A string is an object array of str, with ""
for null. Every other input is a float32 array, with NaN for null; a boolean is 0 or 1, and large numbers are moved near
0. Training and serving both use this module, so that they cannot differ.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kiban.core.errors import KibanError
from kiban.data.contract import Column, Part, Table
from kiban.tasks.metric import Target, Weights
from kiban.tasks.task import task_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Columns = dict[str, npt.NDArray[Any]]

TIMES = ("timestamp", "date")
OF_DATES: list[Part] = ["month", "weekday", "day_of_year"]
EXACT = 2**24
"""The largest whole number up to which single precision has all of them."""

PARTS: Mapping[Part, Callable[[Any], int]] = {
    "month": lambda moment: moment.month,
    "weekday": lambda moment: moment.weekday(),
    "day_of_year": lambda moment: moment.timetuple().tm_yday,
    "hour": lambda moment: moment.hour,
    "day_number": lambda moment: moment.toordinal() - date(1970, 1, 1).toordinal(),
}


def inputs(features: Mapping[str, Column]) -> dict[str, Column]:
    """The inputs by name, in order. A part of a date is an integer."""
    return {name: part for feature, column in features.items() for name, part in _inputs(feature, column).items()}


def inputs_of(features: Mapping[str, Column], name: str) -> list[str]:
    """The names of the inputs of a feature."""
    return list(_inputs(name, features[name]))


def _inputs(feature: str, column: Column) -> dict[str, Column]:
    if column.type not in TIMES:
        return {feature: column}
    return {
        f"{feature}\x1f{part}": Column(type="integer", nullable=column.nullable, description=f"{part} of {feature}")
        for part in parts_of(column)
    }


def parts_of(column: Column) -> list[Part]:
    """The parts of a date or a timestamp that a model reads."""
    return column.parts or [*OF_DATES, *(["hour"] if column.type == "timestamp" else [])]  # type: ignore[list-item]


def from_records(records: Sequence[Mapping[str, Any]], features: Mapping[str, Column]) -> Columns:
    """Records as columns of the inputs. The records have been checked against the contract; null is None."""
    numbers = [name for name, column in features.items() if column.type != "string" and column.type not in TIMES]
    # One conversion for all numbers: for one record, an array for each feature takes four times as long.
    matrix = np.array([[record[name] for record in records] for name in numbers], dtype=np.float64)
    offsets = np.array([offset_of(features[name]) for name in numbers])
    columns = dict(zip(numbers, (matrix - offsets[:, np.newaxis]).astype(np.float32), strict=True))
    for name in features.keys() - columns.keys():
        values = [record[name] for record in records]
        if features[name].type in TIMES:
            columns |= _parts_of_texts(name, features[name], values)
        else:
            columns[name] = np.array(["" if value is None else value for value in values], dtype=object)
    return {name: columns[name] for feature, column in features.items() for name in _inputs(feature, column)}


def _parts_of_texts(name: str, column: Column, texts: Sequence[str | None]) -> Columns:
    """The inputs of a date or a timestamp, from texts in ISO 8601."""
    moments = [None if text is None else moment(text, column) for text in texts]
    return {
        f"{name}\x1f{part}": np.array([np.nan if each is None else PARTS[part](each) for each in moments], np.float32)
        for part in parts_of(column)
    }


def moment(text: str, column: Column) -> date | datetime:
    """The date or the time (UTC) that a text in ISO 8601 stands for. Raises ValueError if it is none."""
    if column.type == "date":
        return date.fromisoformat(text)
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError("it has no time zone")
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is outside the years 1 to 9999") from None


def from_arrow(rows: "pa.Table", features: Mapping[str, Column]) -> Columns:
    """An Arrow table in the contract's schema as columns of the inputs."""
    columns: Columns = {}
    for name, column in features.items():
        if column.type == "string":
            columns[name] = rows[name].fill_null("").to_numpy().astype(object)
        elif column.type in TIMES:
            columns |= _parts_of_arrow(name, column, rows[name])
        else:
            columns[name] = (rows[name].cast("float64", safe=False).to_numpy() - offset_of(column)).astype(np.float32)
    return columns


def _parts_of_arrow(name: str, column: Column, values: "pa.ChunkedArray") -> Columns:
    import pyarrow.compute as pc

    of: Mapping[Part, Callable[[Any], Any]] = {
        "month": pc.month,
        "weekday": pc.day_of_week,
        "day_of_year": pc.day_of_year,
        "hour": pc.hour,
        "day_number": lambda times: times.cast("date32").cast("int32"),
    }
    return {
        f"{name}\x1f{part}": of[part](values).cast("float64").to_numpy().astype(np.float32) for part in parts_of(column)
    }


def offset_of(column: Column) -> float:
    """What is subtracted from a number in double precision: the middle of the contract's range, if it is far from 0.

    Whole numbers above EXACT, such as numbers of customers, would be equal in single precision.
    """
    low, high = column.min, column.max
    if low is None or high is None or max(abs(low), abs(high)) <= EXACT:
        return 0.0
    return float(round((low + high) / 2))


def target_from_arrow(values: "pa.ChunkedArray", column: Column) -> Target:
    """The targets of n rows, of shape (n,): whether they are positive, the number of their level, or the number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    task = task_of(column).name
    if task == "binary":
        is_positive = values if column.positive is None else pc.equal(values, pa.scalar(column.positive, values.type))
        return is_positive.to_numpy()
    if task == "multiclass":
        places = pc.index_in(values, pa.array(column.levels, values.type))
        if places.null_count:
            raise KibanError("a target is null or none of its levels, which no model can learn")
        return places.to_numpy().astype(np.int64)
    return values.cast("float64", safe=False).to_numpy()


def weights_from_arrow(rows: "pa.Table", table: Table) -> Weights | None:
    """How much each of n rows counts, of shape (n,), or None if the contract has no column of role weight."""
    name = table.weight()
    return None if name is None else rows[name].cast("float64", safe=False).to_numpy()


def without(columns: Columns, features: Mapping[str, Column], patterns: list[str]) -> Columns:
    """The columns with null in every feature that matches one of `patterns`.

    Raises KibanError if such a feature may not be null, or if no feature matches.
    """
    names = [name for name in features if any(fnmatch(name, pattern) for pattern in patterns)]
    fixed = [name for name in names if not features[name].nullable]
    if fixed or not names:
        problem = f"matches {fixed[0]!r}, which may not be null" if fixed else "matches no feature"
        raise KibanError(f"params.yaml: missing.groups: {patterns} {problem}")
    nulls: dict[str, Any] = {
        part: "" if features[name].type == "string" else np.nan for name in names for part in inputs_of(features, name)
    }
    return {name: np.full_like(values, nulls[name]) if name in nulls else values for name, values in columns.items()}


def frame(columns: Columns) -> "pd.DataFrame":
    """Columns as a data frame, the input of a scikit-learn pipeline."""
    import pandas as pd  # here, because the service runs without pandas

    return pd.DataFrame(columns)
