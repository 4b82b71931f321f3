"""reports/evaluation.json: the metrics of a servable. The stage evaluate writes it; others read it."""

from pydantic import BaseModel, ConfigDict

from kiban.core.paths import EVALUATION
from kiban.data.split import SPLITS, SplitName

Figures = dict[str, int | float | None]
"""Metrics by name, and the number of `rows` they are computed from. A metric that is not defined is None."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # later releases may write more keys


class GateResult(_Model):
    """Whether `metric` reached `minimum` on `split`."""

    metric: str
    split: SplitName
    minimum: float
    value: float | None
    passed: bool


class BatchFigures(BaseModel):
    """The split of one batch, and its figures."""

    model_config = ConfigDict(extra="allow", frozen=True)

    __pydantic_extra__: Figures

    split: SplitName

    @property
    def figures(self) -> Figures:
        return self.__pydantic_extra__


class Evaluation(_Model):
    """The figures of the model `model_id` on each split.

    `prior` are the figures of a model that always answers with the share of positives in training. `without` are the
    figures on the test rows with a group of features null, by name of the group.
    """

    model_id: str
    train: Figures
    validation: Figures
    test: Figures
    prior: dict[SplitName, Figures]
    without: dict[str, Figures]
    gate: GateResult
    by_batch: dict[str, BatchFigures]

    @property
    def splits(self) -> dict[str, Figures]:
        return {split: getattr(self, split) for split in SPLITS}

    def write(self) -> None:
        EVALUATION.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
