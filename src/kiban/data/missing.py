"""The section `missing`: what a caller may not know, and how the model is taught to do without."""

from typing import Annotated

from pydantic import Field

from kiban.core.settings import Settings


class Missing(Settings):
    """Groups of nullable features by patterns of their names, such as weather_*.

    A random `share` of the training rows is repeated with each group null, and the metrics are also given so.
    """

    groups: dict[str, list[str]]
    share: Annotated[float, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0)]
