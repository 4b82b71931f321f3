"""Rows as a model reads them: one NumPy array a feature.

A string feature is an object array of str, "" where null. Every other feature is a float32 array, NaN where null; a
boolean is 0 or 1. Training and serving both come through here, so that they cannot differ.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kiban.core.errors import KibanError
from kiban.data.contract import Column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Columns = dict[str, npt.NDArray[Any]]


def from_records(records: Sequence[Mapping[str, Any]], features: Mapping[str, Column]) -> Columns:
    """Records that have been checked against the contract, None where null, as columns of `features`."""
    numbers = [name for name, column in features.items() if column.type != "string"]
    # One conversion for all of them: an array a number would take four times as long at one record.
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


def without(columns: Columns, features: Mapping[str, Column], patterns: list[str]) -> Columns:
    """The columns with all features that match `patterns` null; KibanError if one may not be null, or none matches."""
    names = [name for name in features if any(fnmatch(name, pattern) for pattern in patterns)]
    fixed = [name for name in names if not features[name].nullable]
    if fixed or not names:
        problem = f"matches {fixed[0]!r}, which may not be null" if fixed else "matches no feature"
        raise KibanError(f"params.yaml: missing.groups: {patterns} {problem}")
    nulls = {name: "" if features[name].type == "string" else np.nan for name in names}
    return {name: np.full_like(values, nulls[name]) if name in nulls else values for name, values in columns.items()}


def frame(columns: Columns) -> "pd.DataFrame":
    """Columns as the pipeline takes them."""
    import pandas as pd  # the service has none

    return pd.DataFrame(columns)
