"""Rows with what a caller may not know taken away: to train with, and to measure what it costs."""

from collections.abc import Mapping
from fnmatch import fnmatch

import numpy as np
import numpy.typing as npt

from kiban.columns import Columns
from kiban.contract import Column
from kiban.errors import KibanError
from kiban.settings.missing import Missing


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
