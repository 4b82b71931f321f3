"""What a model of each task answers about a row, as JSON and as columns of a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from kiban.request.refusal import RefusedError, finding
from kiban.servable.load import Servable
from kiban.tasks.metric import Scores
from kiban.tasks.task import Name

Prediction = dict[str, Any]


class Binary(BaseModel):
    probability: float = Field(ge=0, le=1, description="Probability that the target is true")
    label: bool = Field(description="True where the probability reaches the model's decision threshold")


class Multiclass(BaseModel):
    label: str = Field(description="The most probable level of the target")
    probabilities: dict[str, float] = Field(description="The probability of each level of the target")


class Regression(BaseModel):
    value: float = Field(description="The number that is expected")
    low: float | None = Field(description="The actual number is between low and high as often as /model says")
    high: float | None = Field(description="null, as low, if the model was made with too few rows to tell")


def _binary(servable: Servable, scores: Scores) -> list[Prediction]:
    pairs = zip(scores.tolist(), servable.labels(scores).tolist(), strict=True)
    return [{"probability": score, "label": label} for score, label in pairs]


def _multiclass(servable: Servable, scores: Scores) -> list[Prediction]:
    levels = servable.target.levels or []
    labels = [levels[place] for place in scores.argmax(axis=1)]
    rows = zip(labels, scores.tolist(), strict=True)
    return [{"label": label, "probabilities": dict(zip(levels, row, strict=True))} for label, row in rows]


def _regression(servable: Servable, scores: Scores) -> list[Prediction]:
    width = servable.manifest.interval
    if width is None:
        return [{"value": score, "low": None, "high": None} for score in scores.tolist()]
    return [{"value": score, "low": score - width, "high": score + width} for score in scores.tolist()]


def _binary_columns(servable: Servable, scores: Scores) -> dict[str, Any]:
    return {"probability": scores, "label": servable.labels(scores)}


def _multiclass_columns(servable: Servable, scores: Scores) -> dict[str, Any]:
    levels = servable.target.levels or []
    labels = np.array(levels, dtype=object)[scores.argmax(axis=1)]
    return {"label": labels, **{f"probability.{level}": scores[:, place] for place, level in enumerate(levels)}}


def _regression_columns(servable: Servable, scores: Scores) -> dict[str, Any]:
    width = servable.manifest.interval
    width = np.nan if width is None else width
    finite = np.where(np.isfinite(scores), scores, np.nan)
    return {"value": finite, "low": finite - width, "high": finite + width}


@dataclass(frozen=True)
class Answers:
    """What a task answers.

    `model` is the type of a prediction. `predictions` takes scores, and gives a prediction for each; `columns` gives
    them as columns of shape (n,).
    """

    model: type[BaseModel]
    predictions: Callable[[Servable, Scores], list[Prediction]]
    columns: Callable[[Servable, Scores], dict[str, Any]]


ANSWERS: Mapping[Name, Answers] = {
    "binary": Answers(Binary, _binary, _binary_columns),
    "multiclass": Answers(Multiclass, _multiclass, _multiclass_columns),
    "regression": Answers(Regression, _regression, _regression_columns),
}


def check_possible(servable: Servable, scores: Scores) -> None:
    """Raise RefusedError (422) for the first record whose score is no probability, or no finite number.

    A model may not be able to answer about values that the contract allows, such as a number without limits.
    """
    is_number = servable.task.name == "regression"
    possible = np.isfinite(scores) if is_number else (scores >= 0) & (scores <= 1)  # false for NaN
    if possible.all():
        return
    kind = "a finite number" if is_number else "a probability"
    record = int(np.argwhere(~possible)[0][0])
    problem = f"the model answers with {scores[~possible][0]}, which is not {kind}"
    raise RefusedError(422, finding(problem, record=record))
