"""The sections `dataset` and `engine`: what the data is, where it comes from, what computes its features."""

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from kiban.settings.base import UNSHOWN, Sections, Settings


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin") from None
    return name


CREDENTIALS = re.compile(r"://.*@|[?&]\w*(password|secret|token|credential|key)\w*=", re.IGNORECASE)


def _no_password(options: dict[str, Any]) -> dict[str, Any]:
    for name, value in options.items():
        if name.endswith("_env") and not re.fullmatch(r"[A-Za-z_]\w*", str(value)):
            raise PydanticCustomError(UNSHOWN, "{name} must be the name of an environment variable", {"name": name})
        if CREDENTIALS.search(str(value)):
            raise PydanticCustomError(
                UNSHOWN, "{name} holds credentials, which belong in the environment", {"name": name}
            )
    return options


class Source(Settings):
    """Where a table's batches come from: `_target_` names a class in kiban.sources, the rest are its options."""

    target: Annotated[str, Field(alias="_target_", pattern=r"^kiban\.sources\.\w+$")]
    options: Annotated[dict[str, Any], AfterValidator(_no_password)] = {}


class TableSettings(Settings):
    source: Source


class Identity(Sections):
    """What most stages read of the section. `name` also names contract, ledger, data folders and module of features."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    timezone: Annotated[str, AfterValidator(_time_zone)]


class Dataset(Identity):
    """The whole section: with the raw tables by name."""

    model_config = ConfigDict(extra="forbid")

    tables: dict[str, TableSettings]


Engine = Literal["duckdb"]
