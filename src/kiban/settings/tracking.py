"""The section `tracking`."""

from typing import Annotated

from pydantic import Field

from kiban.settings.base import Settings


class Tracking(Settings):
    """`experiment` is MLflow's; the server is the environment's MLFLOW_TRACKING_URI, or sqlite under mlruns/.

    A server that does not answer within `request_timeout` seconds counts as down.
    """

    experiment: Annotated[str, Field(min_length=1)]
    request_timeout: Annotated[int, Field(gt=0, le=5)]
