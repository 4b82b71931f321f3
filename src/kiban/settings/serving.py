"""The section `serving`."""

from typing import Annotated

from pydantic import Field

from kiban.settings.base import Settings


class Serving(Settings):
    """What one request may ask of the service, and how many processes answer."""

    workers: Annotated[int, Field(gt=0)]
    max_records: Annotated[int, Field(gt=0)]
    max_bytes: Annotated[int, Field(gt=0)]
    max_seconds: Annotated[float, Field(gt=0)]
    max_concurrency: Annotated[int, Field(gt=0)]
