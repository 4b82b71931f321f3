"""The sections `dataset` and `engine`: the name and time zone of the data, the file of its features, the engine."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from kiban.core.settings import Sections


def time_zone(name: str) -> str:
    """The name of a time zone. Raises ValueError if there is none of that name."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin") from None
    return name


class Identity(Sections):
    """The keys of the section that most stages read. Contracts, ledger and data folders have `name` in their paths."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    timezone: Annotated[str, AfterValidator(time_zone)]


class Featured(Identity):
    """Also `features`, the name of the file under src/kiban/features/ that computes the prepared columns."""

    features: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.py$")]


Engine = Literal["duckdb", "pyspark"]
"""The engine that computes the features of batches, by its name in Ibis."""
