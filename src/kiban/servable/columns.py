"""Rows as a model reads them: one NumPy array for each feature.

A string feature is an object array of str, with "" for null. Every other feature is a float32 array, with NaN for null;
a boolean is 0 or 1. Training and serving both use this module, so that they cannot differ.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kiban.core.errors import KibanError
from kiban.data.contract import Column
from kiban.tasks.metric import Target
from kiban.tasks.task import task_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Columns = dict[str, npt.NDArray[Any]]


def from_records(records: Sequence[Mapping[str, Any]], features: Mapping[str, Column]) -> Columns:
    """Records as columns of `features`. The records have been checked against the contract; null is None."""
    numbers = [name for name, column in features.items() if column.type != "string"]
    # One conversion for all numbers: for one record, an array for each feature takes four times as long.
    matrix = np.array([[record[name] for record in records] for name in numbers], dtype=np.float32)
    columns = dict(zip(numbers, matrix, strict=True))
    for name in features.keys() - columns.keys():
        values = [record[name] for record in records]
        columns[name] = np.array(["" if value is None else value for value in values], dtype=object)
    return {name: columns[name] for name in features}


def from_arrow(rows: "pa.Table", features: Mapping[str, Column]) -> Columns:
    """An Arrow table in the contract's schema as columns of `features`."""
    columns: Columns = {}
    for name, column in features.items():
        if column.type == "string":
            values = rows[name].fill_null("").to_numpy().astype(object)
        else:
            values = rows[name].cast("float64").to_numpy().astype(np.float32)
        columns[name] = values
    return columns


def target_from_arrow(values: "pa.ChunkedArray", column: Column) -> Target:
    """The targets of n rows, of shape (n,): whether they are positive, the number of their level, or the number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    task = task_of(column).name
    if task == "binary":
        is_positive = values if column.positive is None else pc.equal(values, pa.scalar(column.positive, values.type))
        return is_positive.to_numpy()
    if task == "multiclass":
        return pc.index_in(values, pa.array(column.levels, values.type)).to_numpy().astype(np.int64)
    return values.cast("float64").to_numpy()


def without(columns: Columns, features: Mapping[str, Column], patterns: list[str]) -> Columns:
    """The columns with null in every feature that matches one of `patterns`.

    Raises KibanError if such a feature may not be null, or if no feature matches.
    """
    names = [name for name in features if any(fnmatch(name, pattern) for pattern in patterns)]
    fixed = [name for name in names if not features[name].nullable]
    if fixed or not names:
        problem = f"matches {fixed[0]!r}, which may not be null" if fixed else "matches no feature"
        raise KibanError(f"params.yaml: missing.groups: {patterns} {problem}")
    nulls = {name: "" if features[name].type == "string" else np.nan for name in names}
    return {name: np.full_like(values, nulls[name]) if name in nulls else values for name, values in columns.items()}


def frame(columns: Columns) -> "pd.DataFrame":
    """Columns as a data frame, the input of a scikit-learn pipeline."""
    import pandas as pd  # here, because the service runs without pandas

    return pd.DataFrame(columns)
