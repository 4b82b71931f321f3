"""The sections `model`, `preprocessing` and `decision`: the estimator, its inputs, and the decision threshold."""

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
    threshold: Annotated[float, Field(gt=0, lt=1)]
