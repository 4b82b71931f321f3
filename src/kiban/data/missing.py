"""The section `missing`: features that a caller may not know, and how the model learns to predict without them."""

from typing import Annotated

from pydantic import Field

from kiban.core.settings import Settings


class Missing(Settings):
    """Groups of nullable features by patterns of their names, such as weather_*.

    Training repeats a random `share` of its rows with each group null. Evaluation also measures with each group null.
    """

    groups: dict[str, list[str]]
    share: Annotated[float, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0)]
