"""The section `serving`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from kiban.core.settings import Settings


class Log(Settings):
    """The prediction log: the share of the answered requests that it contains.

    `max_bytes` limits all files together; the oldest are deleted. If there is a store for copies, it has each line at
    the latest after `copy_seconds`.
    """

    share: Annotated[float, Field(ge=0, le=1)]
    max_file_bytes: Annotated[int, Field(gt=0)]
    max_bytes: Annotated[int, Field(gt=0)]
    copy_seconds: Annotated[float, Field(gt=0)] = 300


class Serving(Settings):
    """The number of workers, the limits of requests, and the interval at which a worker looks for a new servable."""

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
            raise ValueError("prediction_log.max_bytes must be more than max_file_bytes for each worker")
        return self
