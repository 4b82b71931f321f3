"""The section `missing`: features that a caller may not know, and how the model learns to predict without them."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from typing import Annotated, Self

from pydantic import Field

from kiban.core.settings import Settings
from kiban.data.contract import Table


class Missing(Settings):
    """Groups of nullable features by patterns of their names, such as weather_*.

    Training repeats a random `share` of its rows with each group null. Evaluation also measures with each group null.
    """

    groups: dict[str, list[str]]
    share: Annotated[float, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0)]

    def among(self, table: Table) -> Self:
        """The groups that have a feature of the model: it may leave out all of one."""
        left_out = [name for name, column in table.columns.items() if column.role == "info"]
        groups = {
            name: patterns
            for name, patterns in self.groups.items()
            if _match(table.features(), patterns) or not _match(left_out, patterns)
        }
        return self.model_copy(update={"groups": groups})


def _match(names: Iterable[str], patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)
