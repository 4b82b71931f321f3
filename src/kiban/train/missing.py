"""Training rows with groups of features set to null, for callers who do not know them."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from kiban.data.contract import Column
from kiban.data.missing import Missing
from kiban.servable.columns import Columns, without


def repeat_without(
    columns: Columns, features: Mapping[str, Column], missing: Missing
) -> tuple[Columns, npt.NDArray[np.int64]]:
    """The columns with a random share of the rows repeated at their end for each group, with that group null.

    Also returns, for each row of the result, the index of its original row, which has its target.
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
