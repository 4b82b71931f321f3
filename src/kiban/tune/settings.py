"""The files of conf/tune/: which hyperparameters a search varies, and how it scores them."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from kiban.core.settings import Settings
from kiban.tasks.applies_to import AppliesTo
from kiban.tasks.own import every_metric

Value = bool | int | float | str | None


class Range(Settings):
    """Numbers from `low` to `high`, both included; integers if both are. `step` and `log` exclude each other."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log needs a positive low, and no step")
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        if self.step is not None and (self.step <= 0 or (whole and not isinstance(self.step, int))):
            raise ValueError("step must be positive, and an integer if low and high are")
        return self


class Choice(Settings):
    choices: Annotated[list[Value], Field(min_length=2)]


class Tune(Settings):
    """The settings of a search. Hydra's `overrides` choose the model to tune; `space` has the ranges to search, by the
    dotted key of params.yaml.

    The score of a trial is the mean of `metric` over the last `folds` training batches. Each of them is scored by a
    model that was trained on the earlier training batches. Validation and test batches are never used.
    """

    applies_to: AppliesTo = AppliesTo()
    overrides: list[str] = []
    metric: str
    trials: Annotated[int, Field(gt=0)]
    folds: Annotated[int, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]
    space: Annotated[dict[str, Range | Choice], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_a_metric(self) -> Self:
        if self.metric not in every_metric():
            raise ValueError(f"metric must be one of {', '.join(every_metric())}")
        return self

    @model_validator(mode="after")
    def _varies_what_train_reads(self) -> Self:
        for key in self.space:
            if key.split(".")[0] not in ("model", "preprocessing", "missing") or "." not in key:
                raise ValueError(f"space: {key!r} is not a key of model, preprocessing or missing")
        return self
