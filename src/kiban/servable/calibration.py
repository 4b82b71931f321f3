"""Calibration: what turns the probabilities of a model's file into those of the servable.

It stands in the manifest as numbers, and is computed here for both formats. A converter for ONNX, which computes in
single precision, would give other answers at the steps of an isotonic calibration.
"""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kiban.tasks.metric import Scores

LEAST = 1e-7
"""The least probability, and the least distance from 1, whose log-odds are told apart in single precision."""


class Sigmoid(BaseModel):
    """The log-odds of a probability p become slope * log(p / (1 - p)) + intercept."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    kind: Literal["sigmoid"] = "sigmoid"
    slope: float
    intercept: float


class Isotonic(BaseModel):
    """The line through the points (score, probability), in ascending order of both; flat before the first and after
    the last."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    kind: Literal["isotonic"] = "isotonic"
    scores: list[float] = Field(min_length=1)
    probabilities: list[float] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_a_line(self) -> Self:
        if len(self.scores) != len(self.probabilities):
            raise ValueError("scores and probabilities differ in number")
        if (np.diff(self.scores) <= 0).any() or (np.diff(self.probabilities) < 0).any():
            raise ValueError("scores and probabilities must ascend")
        if self.probabilities[0] < 0 or self.probabilities[-1] > 1:
            raise ValueError("a probability lies outside 0 to 1")
        return self


Calibration = Sigmoid | Isotonic


def log_odds(scores: Scores) -> Scores:
    """log(p / (1 - p)) of probabilities, which are clipped to LEAST and 1 - LEAST."""
    clipped = np.clip(scores, LEAST, 1 - LEAST)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float64)


def calibrated(scores: Scores, calibrations: Sequence[Calibration | None] | None) -> Scores:
    """The calibrated probabilities: of shape (n,) by the only calibration, or (n, k) by one for each class.

    None leaves a class, or all scores, as they are. Probabilities of classes are scaled to a sum of 1; where all of
    them are 0 they become equal.
    """
    if calibrations is None:
        return scores
    if scores.ndim == 1:
        return _one(scores, calibrations[0])
    columns = np.column_stack([_one(scores[:, place], each) for place, each in enumerate(calibrations)])
    sums = columns.sum(axis=1, keepdims=True)
    return np.where(sums > 0, columns / np.where(sums > 0, sums, 1), 1 / columns.shape[1])


def _one(scores: Scores, calibration: Calibration | None) -> Scores:
    if calibration is None:
        return scores
    if isinstance(calibration, Isotonic):
        return np.interp(scores, calibration.scores, calibration.probabilities)
    return 1 / (1 + np.exp(-(calibration.slope * log_odds(scores) + calibration.intercept)))
