"""The section `tracking`."""

from typing import Annotated

from pydantic import Field

from kiban.core.settings import Settings


class Tracking(Settings):
    """`experiment` is the name of MLflow's experiment. MLFLOW_TRACKING_URI names the server; the default is sqlite
    under mlruns/.

    A server that does not answer within `request_timeout` seconds counts as down. A run of the pipeline spends at most
    `time_limit` seconds on delivery to a server; runs that are not delivered by then wait.
    """

    experiment: Annotated[str, Field(min_length=1)]
    request_timeout: Annotated[int, Field(gt=0)]
    time_limit: Annotated[int, Field(gt=0)]
