"""The section `tracking`."""

from typing import Annotated

from pydantic import Field

from kiban.core.settings import Settings


class Tracking(Settings):
    """`experiment` is MLflow's; the server is the environment's MLFLOW_TRACKING_URI, or sqlite under mlruns/.

    A server that does not answer within `request_timeout` seconds counts as down. A run of the pipeline gives it
    `time_limit` seconds in all; what it has not got by then waits.
    """

    experiment: Annotated[str, Field(min_length=1)]
    request_timeout: Annotated[int, Field(gt=0)]
    time_limit: Annotated[int, Field(gt=0)]
