"""A typical row: what a form shows at first, and an API's document as its example."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kiban.data.contract import Column


def typical(rows: pa.Table, features: Mapping[str, Column]) -> dict[str, Any]:
    """Of each feature the median, of strings and booleans the most frequent value; None where all are null.

    No row of `rows` need be like it, so that it gives none of them away.
    """
    return {name: _typical(rows[name], column) for name, column in features.items()}


def _typical(values: pa.ChunkedArray, column: Column) -> Any:
    given = values.drop_null()
    if len(given) == 0:
        return None
    if column.type in ("string", "boolean"):
        counts = sorted(given.value_counts().to_pylist(), key=lambda count: (-count["counts"], count["values"]))
        return counts[0]["values"]
    median = pc.quantile(given, 0.5, interpolation="lower")[0].as_py()
    rounded = int(median) if column.type == "integer" else float(f"{median:.6g}")
    seen = pc.min_max(given).as_py()
    return rounded if seen["min"] <= rounded <= seen["max"] else median  # what was seen is what the contract accepts
