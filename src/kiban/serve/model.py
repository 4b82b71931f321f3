"""The model that answers: its servable, the schema of its requests, and its description at /model."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from kiban.data.contract import Policy, Type
from kiban.request.predictions import ANSWERS, Answers, check_possible
from kiban.request.schema import Places, Records, Schema
from kiban.servable import evaluation
from kiban.servable.columns import from_records
from kiban.servable.evaluation import Figures
from kiban.servable.load import Servable
from kiban.serve.settings import Serving
from kiban.tasks.metric import Metric


class Alive(BaseModel):
    model_id: str


class Feature(BaseModel):
    """A field of a record. A value outside `min`, `max` or `levels` is refused, or answered with a warning."""

    name: str
    type: Type
    description: str
    unit: str | None
    nullable: bool = Field(description="Whether it may be null or absent")
    min: int | float | None
    max: int | float | None
    out_of_range: Policy = Field(description="What happens to a value below min or above max")
    levels: list[str] | None
    unseen: Policy = Field(description="What happens to a value that is not among the levels")
    example: str | int | float | bool | None = Field(description="A typical value: median, or most frequent level")


class Target(BaseModel):
    name: str
    description: str
    unit: str | None = None
    positive: str | int | None = Field(None, description="The value that counts as true, if it is not true itself")
    levels: list[str] | None = Field(None, description="The levels that are predicted, of a multiclass model")


class Evaluation(BaseModel):
    """The metrics of the model, measured with the same file that answers."""

    splits: dict[str, Figures] = Field(
        description="By split; `test` are rows that training and validation did not have"
    )
    without: dict[str, Figures] = Field(description="On the test rows with a group of features null")


class Limits(BaseModel):
    max_records: int
    max_bytes: int


class Model(BaseModel):
    """The model that answers."""

    model_id: str
    dataset: str
    description: str
    task: str
    target: Target
    threshold: float | None = Field(description="The label is true if the probability is this or more; null elsewhere")
    interval: float | None = Field(description="How often a number is between low and high; null elsewhere")
    evaluation: Evaluation | None = Field(description="null if it is not known where this model is served")
    features: list[Feature]
    keys: list[Feature] = Field(description="What says which row it is: for the prediction log, not for the model")
    limits: Limits

    @property
    def title(self) -> str:
        return f"{self.dataset}: {self.description}"


@dataclass(frozen=True)
class Served:
    """A servable that answers within `limits`. `report` is the path of evaluation.json, which may be missing.

    `dropped` are the names of keys that models before it took, and that callers may still give.
    """

    servable: Servable
    limits: Serving
    report: Path
    dropped: frozenset[str] = frozenset()

    @property
    def model_id(self) -> str:
        return self.servable.model_id

    @cached_property
    def schema(self) -> Schema:
        contract = self.servable.contract
        features, keys = contract.features(), contract.keys()
        return Schema(features, self.limits.max_records, keys, self.dropped - features.keys() - keys.keys())

    @cached_property
    def file_schema(self) -> Schema:
        """The schema of records as they stand in the file that the model was trained on."""
        contract = self.servable.contract
        others = frozenset(contract.columns) - set(self.schema.columns)
        return replace(self.schema, ignored=self.schema.ignored | others, is_file=True, written=contract.written)

    @cached_property
    def personal(self) -> frozenset[str]:
        """The fields of a record that are written to no log."""
        return frozenset(name for name, column in self.schema.columns.items() if column.personal)

    @cached_property
    def answers(self) -> Answers:
        return ANSWERS[self.servable.task.name]

    @property
    def compared(self) -> list[Metric]:
        """The metrics to show first."""
        return [self.servable.task.metrics[name] for name in self.servable.task.compared]

    def predict(self, records: Records) -> tuple[list[dict[str, Any]], Places]:
        """The prediction for each record, in order, and the places of unusual values. The schema has checked them.

        Raises RefusedError (422) if the model cannot answer about a record.
        """
        scores = self.servable.score(from_records(records, self.schema.features))
        check_possible(self.servable, scores)
        return self.answers.predictions(self.servable, scores), self.schema.unusual(records)

    @cached_property
    def model(self) -> Model:
        """The description of the model."""
        contract, manifest = self.servable.contract, self.servable.manifest
        name, column, task = contract.target(), self.servable.target, self.servable.task
        return Model(
            model_id=self.model_id,
            dataset=manifest.dataset,
            description=contract.description,
            task=task.title,
            target=Target(
                name=name,
                description=column.description,
                unit=column.unit,
                positive=column.positive,
                levels=column.levels if task.name == "multiclass" else None,
            ),
            threshold=manifest.threshold,
            interval=manifest.parameters["decision"]["interval"] if manifest.interval is not None else None,
            evaluation=self._evaluation(),
            features=[
                Feature(name=name, example=manifest.example[name], **column.model_dump(exclude={"role"}))
                for name, column in self.schema.features.items()
            ],
            keys=[
                Feature(name=name, example=None, **column.model_dump(exclude={"role"}))
                for name, column in self.schema.keys.items()
            ],
            limits=Limits(max_records=self.limits.max_records, max_bytes=self.limits.max_bytes),
        )

    def _evaluation(self) -> Evaluation | None:
        try:
            report = evaluation.Evaluation.model_validate_json(self.report.read_bytes())
        except (OSError, ValidationError):  # it is not part of the servable and may be missing
            return None
        if report.model_id != self.model_id:
            return None
        return Evaluation(splits=report.splits, without=report.without)
