"""A typical row: the initial values of the form, and the example in the API's document."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kiban.data.contract import Column
from kiban.servable.columns import TIMES


def typical(rows: pa.Table, features: Mapping[str, Column]) -> dict[str, Any]:
    """The median of each number and time, and the most frequent value of the others; None if all values are null.

    In general no row of `rows` has these values together, so that the example discloses no row.
    """
    return {name: _typical(rows[name], column) for name, column in features.items()}


def _typical(values: pa.ChunkedArray, column: Column) -> Any:
    present = values.drop_null()
    if len(present) == 0:
        return None
    if column.type in TIMES:
        middle = present.take(pc.sort_indices(present))[len(present) // 2].as_py()
        return str(middle.isoformat()).replace("+00:00", "Z")
    if column.type in ("string", "boolean"):
        counts = sorted(present.value_counts().to_pylist(), key=lambda count: (-count["counts"], count["values"]))
        return counts[0]["values"]
    median = pc.quantile(present, 0.5, interpolation="lower")[0].as_py()
    rounded = int(median) if column.type == "integer" else float(f"{median:.6g}")
    limits = pc.min_max(present).as_py()
    # Rounding must not leave the range of the values, which the contract accepts.
    return rounded if limits["min"] <= rounded <= limits["max"] else median
