"""reports/evaluation.json: the metrics of a servable. The stage evaluate writes it; others read it."""

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from kiban.core.paths import EVALUATION
from kiban.data.split import SPLITS, SplitName
from kiban.tasks.task import METRICS

Figures = dict[str, int | float | None]
"""Metrics by name, and the number of `rows` they are computed from. A metric that is not defined is None."""


Ends = tuple[float, float]
"""The low and the high end of a metric with 95 % confidence."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # later releases may write more keys


class GateResult(_Model):
    """Whether `metric` reached `threshold` on `split`. Earlier releases wrote it as `minimum`.

    `greater_is_better` is of the metric; earlier releases had only metrics of the tasks, and did not write it.
    """

    metric: str
    split: SplitName
    threshold: float = Field(validation_alias=AliasChoices("threshold", "minimum"))
    value: float | None
    passed: bool
    greater_is_better: bool | None = None

    def in_words(self) -> str:
        """The state and the rule, such as `passed (test roc_auc >= 0.7)`."""
        is_least = METRICS[self.metric].greater_is_better if self.greater_is_better is None else self.greater_is_better
        sign = ">=" if is_least else "<="
        return f"{'passed' if self.passed else 'not passed'} ({self.split} {self.metric} {sign} {self.threshold:g})"


class BatchFigures(BaseModel):
    """The split of one batch, and its figures."""

    model_config = ConfigDict(extra="allow", frozen=True)

    __pydantic_extra__: Figures

    split: SplitName

    @property
    def figures(self) -> Figures:
        return self.__pydantic_extra__


class Intervals(_Model):
    """Where the compared metrics of the task lie with 95 % confidence, by split and by batch; None if not defined."""

    splits: dict[SplitName, dict[str, Ends | None]]
    batches: dict[str, dict[str, Ends | None]]


class Evaluation(_Model):
    """The figures of the model `model_id` on each split.

    `baseline` is what the baseline answers for every row: the share of positives in training, of each class, or the
    mean. `threshold` is that of the decision of a binary model. Earlier releases wrote neither of the two. `prior` are
    the baseline's figures. `without` are the figures on the test rows with a group of features null, by name of the
    group. `intervals` come from drawing whole clusters of rows; earlier releases wrote none.
    """

    model_id: str
    train: Figures
    validation: Figures
    test: Figures
    baseline: float | list[float] | None = None
    threshold: float | None = None
    prior: dict[SplitName, Figures]
    without: dict[str, Figures]
    gate: GateResult
    by_batch: dict[str, BatchFigures]
    intervals: Intervals | None = None

    @property
    def splits(self) -> dict[str, Figures]:
        return {split: getattr(self, split) for split in SPLITS}

    def write(self) -> None:
        EVALUATION.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
