"""The decision threshold of a binary model, chosen on the validation rows. The model itself does not depend on it."""

import numpy as np

from kiban.servable.manifest import NEVER
from kiban.tasks.metric import Scored, Scores, Target, Weights
from kiban.train.settings import Decision


def threshold(decision: Decision, target: Target, scores: Scores, weights: Weights | None = None) -> float:
    """The least probability that is labelled true, by one of the rules of `decision`.

    It lies in the middle between two scores of the validation rows in single precision, in which the model is served,
    so that the last digits of a score do not matter.
    """
    if decision.threshold is not None:
        return decision.threshold
    rows = Scored(target, scores.astype(np.float32).astype(np.float64), weights).weighted()
    # At place n the rows with the n highest distinct scores are labelled true.
    labelled = np.append(0, rows.all)
    if decision.cost is not None:
        true, false = np.append(0, rows.true), np.append(0, rows.false)
        costs = decision.cost.false_positive * false + decision.cost.false_negative * (true[-1] - true)
        place = int(np.argmin(costs))
    else:
        place = int(np.flatnonzero(labelled <= (decision.capacity or 0) * labelled[-1] + 1e-9)[-1])
    distinct = np.concatenate([[NEVER], rows.scores[rows.rows.order][rows.rows.ends], [0.0]])
    if place == 0 and distinct[1] >= 1:
        return NEVER
    return float((distinct[place] + distinct[place + 1]) / 2)
