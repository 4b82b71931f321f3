"""How often the gate of a promotion is right, on drawn days of the flights' test months.

Days are drawn with replacement; a day that is drawn twice is two clusters. All rules are on but the time of an answer,
which is the same for both models here. The pairs of champion and challenger are made of real scores, so that the truth
is known:

- equal: two real models, exchanged at random day by day, so that neither is better;
- better: one model, and the same with noise added to its log-odds that costs 0.01 ROC AUC over the two months;
- worse at an origin: noise costs the champion more everywhere else, and the challenger 0.03 at one origin.

    dvc repro && make bench-gate
"""

import sys
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kiban.core.settings import Sections
from kiban.data.split import Split
from kiban.evaluate.settings import Gate

DRAWS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
YEARS = DRAWS // 5
LOOKS, DAYS_OF_A_MONTH = 12, 30
AIRPORT = "origin EWR"
Floats = npt.NDArray[np.float64]


class Params(Sections):
    gate: Gate
    split: Split


class Test(NamedTuple):
    """The test rows: target, scores of two models, day, and the rows of each slice."""

    target: npt.NDArray[np.bool_]
    scores: Floats
    other: Floats
    day: npt.NDArray[np.int64]
    masks: dict[str, npt.NDArray[np.bool_]]
