"""The features that a model leaves out: `model.features.without`, so that choosing features is an experiment."""

from fnmatch import fnmatch

from pydantic import ValidationError

from kiban.core.errors import KibanError
from kiban.core.settings import Settings, explain
from kiban.data.contract import Table
from kiban.train.settings import Model

KEY = "features"
"""The key of the section `model` that is no argument of the estimator."""


class Chosen(Settings):
    """The features of a model: all of the contract's but those whose names match one of the patterns `without`."""

    without: list[str] = []


def used(table: Table, model: Model) -> Table:
    """The prepared table as the model knows it: a feature that it leaves out is information only.

    Raises KibanError if a pattern matches no feature, or if none is left.
    """
    try:
        chosen = Chosen.model_validate(model.get(KEY, {}))
    except ValidationError as error:
        raise KibanError(f"params.yaml: model.{KEY}.{explain(error)}") from None
    features = table.features()
    for pattern in chosen.without:
        if not any(fnmatch(name, pattern) for name in features):
            raise KibanError(f"params.yaml: model.{KEY}.without: {pattern!r} matches no feature")
    left_out = {name for name in features if any(fnmatch(name, pattern) for pattern in chosen.without)}
    if not left_out:
        return table
    if left_out == set(features):
        raise KibanError(f"params.yaml: model.{KEY}.without: no feature is left")
    columns = {
        name: column.model_copy(update={"role": "info", "parts": None}) if name in left_out else column
        for name, column in table.columns.items()
    }
    return table.model_copy(update={"columns": columns})
