"""The section `serving`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from kiban.core.settings import Settings


class Log(Settings):
    """What is logged of the predictions: the share of the requests, and all but the features to leave out.

    `max_bytes` is for all files together; the oldest are deleted.
    """

    share: Annotated[float, Field(ge=0, le=1)]
    leave_out: list[str]
    max_file_bytes: Annotated[int, Field(gt=0)]
    max_bytes: Annotated[int, Field(gt=0)]


class Serving(Settings):
    """What one request may ask of the service, how many processes answer, and how they live."""

    workers: Annotated[int, Field(gt=0)]
    max_records: Annotated[int, Field(gt=0)]
    max_bytes: Annotated[int, Field(gt=0)]
    max_seconds: Annotated[float, Field(gt=0)]
    max_concurrency: Annotated[int, Field(gt=0)]
    max_waiting: Annotated[int, Field(gt=0)]
    max_waiting_bytes: Annotated[int, Field(gt=0)]
    watch_seconds: Annotated[float, Field(gt=0)]
    trial_seconds: Annotated[float, Field(gt=0)]
    trial_bytes: Annotated[int, Field(gt=0)]
    prediction_log: Log

    @model_validator(mode="after")
    def _log_has_room(self) -> Self:
        log = self.prediction_log
        if log.max_bytes <= self.workers * log.max_file_bytes:
            raise ValueError("prediction_log.max_bytes must be more than a file of max_file_bytes a worker")
        return self
