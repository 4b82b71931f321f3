"""The sections `model`, `preprocessing` and `decision`: what is trained, and from which probability on it says yes."""

from typing import Annotated, Any, Literal

from pydantic import Field

from kiban.core.settings import Settings

Model = dict[str, Any]
"""`_target_`, a scikit-learn class, and its arguments; estimator.py checks them, since only scikit-learn knows them."""


class Preprocessing(Settings):
    """How the contract's features become the estimator's numbers."""

    categories: Literal["one_hot", "ordinal"]
    numbers: Literal["standardize", "as_is"]


class Decision(Settings):
    threshold: Annotated[float, Field(gt=0, lt=1)]
