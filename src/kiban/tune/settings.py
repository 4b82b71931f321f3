"""The files of conf/tune/: what a search for hyperparameters varies, and how it judges."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kiban.core.settings import Settings

Value = bool | int | float | str | None


class Range(Settings):
    """Numbers from `low` to `high`, both included, whole numbers if both are; `step` excludes `log`."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log goes with a positive low and without step")
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        if self.step is not None and (self.step <= 0 or (whole and not isinstance(self.step, int))):
            raise ValueError("step must be positive, and whole where low and high are")
        return self


class Choice(Settings):
    choices: Annotated[list[Value], Field(min_length=2)]


class Tune(Settings):
    """`overrides` of Hydra say what is tuned, `space` what is varied, by the dotted key of params.yaml.

    Each trial is scored by the mean of `metric` over `folds`: the last training batches in turn, each by a model that
    was trained on the training batches before it. Validation and test batches are never seen.
    """

    overrides: list[str] = []
    metric: Literal["roc_auc", "average_precision"]
    trials: Annotated[int, Field(gt=0)]
    folds: Annotated[int, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]
    space: Annotated[dict[str, Range | Choice], Field(min_length=1)]

    @model_validator(mode="after")
    def _varies_what_train_reads(self) -> Self:
        for key in self.space:
            if key.split(".")[0] not in ("model", "preprocessing", "missing") or "." not in key:
                raise ValueError(f"space: {key!r} is no key of model, preprocessing or missing")
        return self
