"""Rows as a model reads them: one NumPy array a feature.

A string feature is an object array of str, "" where null. Every other feature is a float32 array, NaN where null; a
boolean is 0 or 1. Training and serving both come through here, so that they cannot differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kiban.contract import Column
from kiban.errors import KibanError
from kiban.settings.missing import Missing

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


def without(columns: Columns, features: Mapping[str, Column], patterns: list[str]) -> Columns:
    """The columns with all features that match `patterns` null; KibanError if one may not be null, or none matches."""
    names = [name for name in features if any(fnmatch(name, pattern) for pattern in patterns)]
    fixed = [name for name in names if not features[name].nullable]
    if fixed or not names:
        found = f"matches {fixed[0]!r}, which may not be null" if fixed else "matches no feature"
        raise KibanError(f"params.yaml: missing.groups: {patterns} {found}")
    nulls = {name: "" if features[name].type == "string" else np.nan for name in names}
    return {name: np.full_like(of, nulls[name]) if name in nulls else of for name, of in columns.items()}


def repeat_without(
    columns: Columns, features: Mapping[str, Column], missing: Missing
) -> tuple[Columns, npt.NDArray[np.int64]]:
    """The columns, then for each group a random share of the rows once more with that group null.

    Also the index of the row that each row of the result came from, to pick its target by.
    """
    random = np.random.default_rng(missing.seed)
    length = len(next(iter(columns.values())))
    parts, indices = [columns], [np.arange(length)]
    for patterns in missing.groups.values():
        drawn = np.sort(random.choice(length, size=round(missing.share * length), replace=False))
        parts.append(without({name: of[drawn] for name, of in columns.items()}, features, patterns))
        indices.append(drawn)
    repeated = {name: np.concatenate([part[name] for part in parts]) for name in columns}
    return repeated, np.concatenate(indices)
