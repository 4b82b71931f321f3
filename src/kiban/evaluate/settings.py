"""The sections `evaluation` and `gate`: how the servable is measured, and when it is good enough to be served."""

from typing import Annotated, Literal

from pydantic import Field

from kiban.core.settings import Settings
from kiban.data.split import SplitName


class Importance(Settings):
    """Permutation importance on a random sample of the test rows."""

    rows: Annotated[int, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]


class EvaluationSettings(Settings):
    importance: Importance


class Override(Settings):
    """A model that may be merged although it does not pass the gate, and why. It counts for no other model."""

    model_id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    reason: Annotated[str, Field(min_length=10)]


class Gate(Settings):
    """`metric` on `split` must reach `minimum`, unless `override` names the model.

    A version is better or worse than another only if the whole 95 % interval of their difference exceeds
    `minimum_change`. The interval comes from resampling clusters of rows, because rows of a cluster are not
    independent. `cluster` is a calendar unit of the contract's time in the dataset's time zone, or a column of its key.
    """

    metric: Literal["roc_auc", "average_precision"]
    split: SplitName
    minimum: Annotated[float, Field(ge=0, le=1)]
    minimum_change: Annotated[float, Field(ge=0, le=1)]
    cluster: Annotated[str, Field(min_length=1)]
    override: Override | None = None
