"""Rows with what a caller may not know taken away, to train with."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from kiban.data.contract import Column
from kiban.data.missing import Missing
from kiban.servable.columns import Columns, without


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
        parts.append(without({name: values[drawn] for name, values in columns.items()}, features, patterns))
        indices.append(drawn)
    repeated = {name: np.concatenate([part[name] for part in parts]) for name in columns}
    return repeated, np.concatenate(indices)
