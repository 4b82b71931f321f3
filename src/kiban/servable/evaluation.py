"""reports/evaluation.json: what a servable was measured to be worth. The stage evaluate writes it, others read it."""

from pydantic import BaseModel, ConfigDict

from kiban.core.paths import EVALUATION
from kiban.data.split import SPLITS, SplitName

Figures = dict[str, int | float | None]
"""Metrics by name, and how many rows they are of; one that is not defined on these rows is None."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # later releases may have more


class GateResult(_Model):
    """Whether `metric` reached `minimum` on `split`."""

    metric: str
    split: SplitName
    minimum: float
    value: float | None
    passed: bool


class BatchFigures(BaseModel):
    """The figures of one batch, beside its split."""

    model_config = ConfigDict(extra="allow", frozen=True)

    __pydantic_extra__: Figures

    split: SplitName

    @property
    def figures(self) -> Figures:
        return self.__pydantic_extra__


class Evaluation(_Model):
    """Of the model `model_id`: the figures of each split.

    `prior` are those of a model that answers with the share of positives in training; `without` those of the test rows
    where a caller does not know a group of features.
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
