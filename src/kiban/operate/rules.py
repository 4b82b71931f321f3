"""conf/promotion/NAME.yaml: what is promoted, and when. No stage reads it, and it is no part of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from kiban.core import settings
from kiban.core.paths import CONF
from kiban.core.settings import Settings
from kiban.evaluate.settings import Rules
from kiban.review.revision import Revision

FOLDER = CONF / "promotion"
DEFAULT = FOLDER / "default.yaml"


class Promotion(Settings):
    """`deliver` says how commits come to the branch: `main` pushes them, `pull_request` waits for a person to merge.

    `keep` is the number of releases on the serving machine, with the one that answers.
    """

    deliver: Literal["main", "pull_request"]
    keep: Annotated[int, Field(ge=2)]
    rules: Rules


def read(dataset: str) -> Promotion:
    """The settings of a dataset: of its own file, or else of default.yaml. Raises KibanError if they do not fit."""
    own = FOLDER / f"{dataset}.yaml"
    return settings.read(Promotion, own if own.exists() else DEFAULT)


def of(revision: Revision) -> Promotion:
    """The settings of a revision; those of the working tree if it has none. Raises KibanError if they do not fit."""
    for path in (FOLDER / f"{revision.dataset}.yaml", DEFAULT):
        try:
            content = revision.content(path)
        except FileNotFoundError:
            continue
        return settings.parse(content, TypeAdapter(Promotion), f"{path} of {revision.label}", "correct it")
    return read(revision.dataset)
