"""The sections `evaluation` and `gate`: what is measured, and what is good enough to be served."""

from typing import Annotated, Literal

from pydantic import Field

from kiban.settings.base import Settings
from kiban.settings.split import SplitName


class Importance(Settings):
    """Permutation importance on a random sample of the test rows."""

    rows: Annotated[int, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]


class Evaluation(Settings):
    importance: Importance


class Gate(Settings):
    """`metric` on `split` must reach `minimum`."""

    metric: Literal["roc_auc", "average_precision"]
    split: SplitName
    minimum: Annotated[float, Field(ge=0, le=1)]
