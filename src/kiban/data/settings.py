"""The sections `dataset` and `engine`: what the data is, where it comes from, what computes its features."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from kiban.core.settings import Sections


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin") from None
    return name


class Identity(Sections):
    """What most stages read of the section. `name` also names contract, ledger and data folders."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    timezone: Annotated[str, AfterValidator(_time_zone)]


class Featured(Identity):
    """With `features`, the file under src/kiban/features/ that computes the prepared columns."""

    features: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.py$")]


Engine = Literal["duckdb"]
