"""Which model is in production, as MLflow's registry is told: a copy of what git's tags say.

It waits in the outbox as the runs do, and the newest one counts.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from kiban.core import files
from kiban.core.paths import OUTBOX

FILE = OUTBOX / "champion.json"
ALIAS = "champion"


class Champion(BaseModel):
    """The model that is to have the alias: its id, its version in git, and the name of the registered model.

    `at` is the time of the tag that says so, in ISO 8601: of two, the later counts, whichever is delivered first.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    model_id: str
    version: str
    at: str


def put(root: Path, champion: Champion) -> None:
    """Let a model wait for its alias, in the place of another one that waits. OSError if that cannot be written."""
    (root / OUTBOX).mkdir(exist_ok=True)
    files.write(root / FILE, champion.model_dump_json().encode())


def waiting(root: Path) -> Champion | None:
    """The model that waits for its alias, or None."""
    try:
        return Champion.model_validate_json((root / FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def remove(root: Path, champion: Champion) -> None:
    """Forget a model that has its alias, if no other one has taken its place meanwhile."""
    if waiting(root) == champion:
        (root / FILE).unlink(missing_ok=True)
