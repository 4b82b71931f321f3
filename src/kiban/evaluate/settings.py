"""The sections `evaluation` and `gate`: how the servable is measured, and when it is good enough to be served.

The further rules, for what takes the place of a model in production, stand in conf/promotion, which no stage reads.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from kiban.core.settings import Settings
from kiban.data.split import SplitName
from kiban.tasks.own import every_metric


class Importance(Settings):
    """Permutation importance on a random sample of the test rows."""

    rows: Annotated[int, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]


class EvaluationSettings(Settings):
    importance: Importance


class Plot(Settings):
    """A plot in DVC's own words: its template, the columns of a file under reports/plots, and its titles."""

    template: Annotated[str, Field(pattern=r"^\w+$")]
    x: str
    y: Annotated[dict[Annotated[str, Field(pattern=r"^reports/plots/\w+\.csv$")], str | list[str]], Field(min_length=1)]
    title: str
    x_label: str
    y_label: str


Named = Annotated[dict[Annotated[str, Field(min_length=1)], Plot], Field(min_length=1, max_length=1)]
"""A plot by its name."""


class Plots(Settings):
    """The seven plots of dvc.yaml."""

    one: Named
    two: Named
    three: Named
    four: Named
    five: Named
    six: Named
    seven: Named

    @model_validator(mode="after")
    def _have_names_of_their_own(self) -> Self:
        named = [self.one, self.two, self.three, self.four, self.five, self.six, self.seven]
        if len({name for each in named for name in each}) < len(named):
            raise ValueError("two plots have the same name")
        return self


class Override(Settings):
    """A model that may be merged although it does not pass the gate, and why. It counts for no other model."""

    model_id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    reason: Annotated[str, Field(min_length=10)]


class Gate(Settings):
    """`metric` on `split` must reach `threshold`, unless `override` names the model.

    The threshold is a minimum, or a maximum of a metric of which less is better.

    A version is better or worse than another only if the whole 95 % interval of their difference exceeds
    `minimum_change`. The interval comes from resampling clusters of rows, because rows of a cluster are not
    independent. `cluster` is a calendar unit of the contract's time in the dataset's time zone, a column, or
    `row` if they are.
    """

    metric: str
    split: SplitName
    threshold: Annotated[float, Field(allow_inf_nan=False)]
    minimum_change: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    cluster: Annotated[str, Field(min_length=1)]
    override: Override | None = None

    @model_validator(mode="after")
    def _has_a_metric(self) -> Self:
        if self.metric not in every_metric():
            raise ValueError(f"metric must be one of {', '.join(every_metric())}")
        return self

    def passed(self, value: float | None) -> bool:
        """Whether the metric reaches the threshold. None, a metric that is not defined, does not."""
        if value is None:
            return False
        return value >= self.threshold if every_metric()[self.metric].greater_is_better else value <= self.threshold


class Rules(Settings):
    """What a model may cost that takes the place of another one.

    `latency` is the most CPU time of an answer, in multiples of the other's. The calibration error may be more by
    `calibration_loss`, and the gate's metric less by `slice_loss` in each slice with at least `slice_rows` rows. The
    slices are those of each column in `slices`; `month` is that of the contract's time.
    """

    latency: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    calibration_loss: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    slices: list[Annotated[str, Field(min_length=1)]]
    slice_rows: Annotated[int, Field(gt=0)]
    slice_loss: Annotated[float, Field(ge=0, allow_inf_nan=False)]
