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


class Monitoring(Settings):
    """What the monitor looks at: the last `weeks`. One honest week in `weeks_per_false_alarm` may be unusual.

    A change below `minimum_change`, as a share of rows, is none. A batch is late `late_days` after the end of the next
    one, and more refused requests than the share `refused` are too many.
    """

    weeks: Annotated[int, Field(ge=3)] = 12
    weeks_per_false_alarm: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 20
    minimum_change: Annotated[float, Field(gt=0, le=1)] = 0.1
    late_days: Annotated[int, Field(ge=0)] = 7
    refused: Annotated[float, Field(ge=0, le=1)] = 0.05


class Due(Settings):
    """When a cycle tries to promote a model: after so many months, or so many new batches. Worse quality suffices.

    A cycle is overdue so many hours after the one before it was started.
    """

    months: Annotated[int, Field(ge=1)] = 3
    batches: Annotated[int, Field(ge=1)] = 1
    overdue_hours: Annotated[int, Field(ge=1)] = 36


class Promotion(Settings):
    """`deliver` says how commits come to the branch: `main` pushes them, `pull_request` waits for a person to merge.

    `keep` is the number of releases on the serving machine, with the one that answers. A file of an earlier release has
    neither `monitor` nor `cycle`.
    """

    deliver: Literal["main", "pull_request"]
    keep: Annotated[int, Field(ge=2)]
    rules: Rules
    monitor: Monitoring = Monitoring()
    cycle: Due = Due()


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
