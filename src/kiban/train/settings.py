"""The sections `model`, `preprocessing`, `decision` and `sample`: the estimator, its inputs, how its scores are
answered, and the rows that it learns from."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kiban.core.settings import Settings

Sample = Annotated[float, Field(gt=0, lt=1)] | None
"""The share of the rows of training and validation that the model learns from; None for all of them."""

Model = dict[str, Any]
"""`_target_`, a scikit-learn class, and its arguments. estimator.py checks them: only scikit-learn knows them."""
FIT_ON = "fit_on"
"""The key of the section `model` that says where more rows than memory holds are fitted: `disk` or `spark`."""
OURS = ("features", FIT_ON)
"""The keys of the section `model` that are no arguments of the estimator."""


class Preprocessing(Settings):
    """How the contract's features are converted to the numbers that the estimator takes.

    `impute` puts the median in the place of null, and `standardize` does so before it scales.
    """

    categories: Literal["one_hot", "ordinal"]
    numbers: Literal["standardize", "impute", "as_is"]


class Cost(Settings):
    """What a row costs that is labelled true and is not, and one that is true and is not labelled so; in any unit."""

    false_positive: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    false_negative: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _costs_something(self) -> Self:
        if not self.false_positive + self.false_negative:
            raise ValueError("one of false_positive and false_negative must be above 0")
        return self


class Decision(Settings):
    """How scores become answers.

    A probability is labelled true from `threshold` on, or from where the validation rows cost least by `cost`, or from
    where a share `capacity` of them is labelled true. A number has an interval around it that holds a share `interval`
    of new rows. `calibration` fits the probabilities to the shares of the validation rows.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)] | None
    cost: Cost | None
    capacity: Annotated[float, Field(gt=0, lt=1)] | None
    calibration: Literal["sigmoid", "isotonic"] | None
    interval: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        rules = [name for name in ("threshold", "cost", "capacity") if getattr(self, name) is not None]
        if len(rules) != 1:
            raise ValueError("give one of threshold, cost and capacity, and null for the others")
        return self
