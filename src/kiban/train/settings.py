"""The sections `model`, `preprocessing` and `decision`: the estimator, its inputs, and how its scores are answered."""

from typing import Annotated, Any, Literal

from pydantic import Field

from kiban.core.settings import Settings

Model = dict[str, Any]
"""`_target_`, a scikit-learn class, and its arguments. estimator.py checks them: only scikit-learn knows them."""


class Preprocessing(Settings):
    """How the contract's features are converted to the numbers that the estimator takes."""

    categories: Literal["one_hot", "ordinal"]
    numbers: Literal["standardize", "as_is"]


class Decision(Settings):
    """How scores become answers: a probability from `threshold` on is labelled true; a number has an interval around it
    that holds a share `interval` of new rows."""

    threshold: Annotated[float, Field(gt=0, lt=1)]
    interval: Annotated[float, Field(gt=0, lt=1)]
