"""The whole section `dataset`, with the source of each raw table."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from kiban.core.settings import UNSHOWN, Settings
from kiban.data.settings import Featured

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
    """The source of a table: `_target_` names a class in kiban.sources, `options` are its arguments.

    `missing` lists the texts that stand for null in the source, such as NA.
    """

    target: Annotated[str, Field(alias="_target_", pattern=r"^kiban\.sources\.(\w+\.)?\w+$")]
    options: Annotated[dict[str, Any], AfterValidator(_no_password)] = {}
    missing: list[str] = []


class TableSettings(Settings):
    """A raw table. A cycle takes its last `refresh_last` batches anew, since its truth comes late or is corrected.

    Rows older than `retention_months` before the present month are not taken, and `kiban erase --by-age` erases them.
    """

    source: Source
    refresh_last: Annotated[int, Field(ge=0)] = 0
    retention_months: Annotated[int | None, Field(ge=1)] = None


class Dataset(Featured):
    """The whole section, with the raw tables by name."""

    model_config = ConfigDict(extra="forbid")

    tables: dict[str, TableSettings]
