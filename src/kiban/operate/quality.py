"""How good the answers are: as the model itself expects before the truth is known, and as they were after it.

Expected: a probability p says that of such rows the share p is true. So a row counts as true with the weight p and as
false with 1 - p, and any metric is computed from that (confidence-based estimation, as in Guillory et al., Predicting
with Confidence on Unseen Distributions, 2021). A number counts with each of the errors that the model made on rows
whose truth is known. How wrong the expectation was on windows whose truth is known gives the interval of the next one.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy import stats

from kiban.evaluate import bootstrap
from kiban.evaluate.bootstrap import CONFIDENCE
from kiban.tasks.metric import NOTHING, Clusters, Metric, Scored, Scores, Terms

LEAST_WINDOWS = 4  # with a known truth, before the error of an expectation is known
ERRORS = 50  # quantiles of the errors of numbers


class Interval(BaseModel):
    """A metric, and where it lies with 95 % confidence."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float

    @property
    def in_words(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def expected(metric: Metric, scores: Scores, errors: npt.NDArray[np.float64] | None, terms: Terms = NOTHING) -> float:
    """The metric of n rows as their scores lead to expect; NaN if it is not defined.

    `scores` has the shape (n,) or, of k classes, (n, k). `errors` are what was true less what was answered, of numbers;
    None of probabilities.
    """
    if scores.ndim > 1:
        classes = scores.shape[1]
        rows, target = np.repeat(scores, classes, axis=0), np.tile(np.arange(classes), len(scores))
        return metric.value(Scored(target, rows, scores.reshape(-1), terms).weighted())
    if errors is not None:
        several = np.quantile(errors, (np.arange(ERRORS) + 0.5) / ERRORS)
        true = (scores[:, np.newaxis] + several).reshape(-1)
        return metric.value(Scored(true, np.repeat(scores, ERRORS), None, terms).weighted())
    target = np.concatenate([np.ones(len(scores), np.bool_), np.zeros(len(scores), np.bool_)])
    weights = np.concatenate([scores, 1 - scores])
    return metric.value(Scored(target, np.concatenate([scores, scores]), weights, terms).weighted())


def corrected(value: float, past: Sequence[tuple[float, float]]) -> Interval | None:
    """An expectation with the interval that its past errors give. `past` has pairs of expected and real values.

    It is shifted by their mean error. None if fewer than LEAST_WINDOWS are known, or if it is not defined.
    """
    errors = np.array([real - before for before, real in past if np.isfinite(real) and np.isfinite(before)])
    if len(errors) < LEAST_WINDOWS or not np.isfinite(value):
        return None
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(errors) - 1) * errors.std(ddof=1) * np.sqrt(1 + 1 / len(errors))
    middle = value + errors.mean()
    return Interval(value=float(middle), low=float(middle - half), high=float(middle + half))


def real(metric: Metric, rows: Scored, clusters: Clusters) -> Interval | None:
    """The metric of rows whose truth is known, with its interval over whole clusters; None if it is not defined."""
    low, value, high = bootstrap.interval(metric, rows, clusters)
    return Interval(value=value, low=low, high=high) if np.isfinite([low, value, high]).all() else None
