"""Rows as a model reads them: one NumPy array a feature.

A string feature is an object array of str, "" where null. Every other feature is a float32 array, NaN where null; a
boolean is 0 or 1. Training and serving both come through here, so that they cannot differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kiban.contract import Column

if TYPE_CHECKING:
    import pyarrow as pa

Columns = dict[str, npt.NDArray[Any]]


def from_values(values: Iterable[Any], column: Column) -> npt.NDArray[Any]:
    """Python values of one column, None where null, as the model reads them."""
    if column.type == "string":
        return np.array(["" if value is None else value for value in values], dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)


def from_records(records: Sequence[Mapping[str, Any]], features: Mapping[str, Column]) -> Columns:
    """Records that have been checked against the contract as columns of `features`."""
    return {name: from_values((record[name] for record in records), column) for name, column in features.items()}


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
