"""The module of features that `dataset.features` names."""

import importlib
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import NamedTuple

import ibis.expr.types as ir

from kiban.core.errors import KibanError


class Features(NamedTuple):
    """A module of features. `compute` gives the prepared rows of raw tables, one for each row of the table `rows_of`.

    `lookback_days` is the number of days before a batch whose rows `compute` needs. `module` is the module's name.
    """

    compute: Callable[[Mapping[str, ir.Table]], ir.Table]
    rows_of: str
    lookback_days: int
    module: str


def load(file: str, tables: Collection[str]) -> Features:
    """The features that `file` defines, for a dataset with these raw `tables`.

    Raises KibanError if there is no such file, or if its ROWS_OF names none of the tables.
    """
    name = f"kiban.features.{file.removesuffix('.py')}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise KibanError(f"params.yaml: dataset.features: there is no file src/kiban/features/{file}") from None
    return Features(module.features, _rows_of(module, file, tables), module.LOOKBACK_DAYS, name)


def _rows_of(module: ModuleType, file: str, tables: Collection[str]) -> str:
    table: str | None = module.ROWS_OF
    if table is None and len(tables) == 1:
        return next(iter(tables))
    if table is None or table not in tables:
        raise KibanError(
            f"src/kiban/features/{file}: ROWS_OF is {table!r}, but the raw tables are {', '.join(tables)}: name the "
            "table that has one row for each prepared row"
        )
    return table
