"""The section `validation`: what happens to a batch that is rejected, and how a batch is compared with earlier ones."""

from typing import Annotated, Literal

from pydantic import Field

from kiban.core.settings import Settings

OnFailure = Literal["stop", "quarantine"]
Check = Literal["rows", "periods", "levels", "nulls", "repeats", "distribution"]
Reaction = Literal["warn", "reject", "ignore"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Checks(Settings):
    """What happens if a batch is not like earlier ones in this respect."""

    rows: Reaction
    periods: Reaction
    levels: Reaction
    nulls: Reaction
    repeats: Reaction
    distribution: Reaction

    def of(self, check: Check) -> Reaction:
        reaction: Reaction = getattr(self, check)
        return reaction


class History(Settings):
    """How a batch is compared with at most `batches` accepted ones before it.

    A change is told from `minimum_change` on, a share of the rows, if it is also beyond what chance would bring in one
    of `batches_per_false_alarm` batches. `checks` say what is compared, and what happens. `accept` has the SHA-256 of
    batches that are right although they differ: nothing that is compared rejects them.
    """

    batches: Annotated[int, Field(ge=3)]
    minimum_change: Annotated[float, Field(gt=0, lt=1)]
    batches_per_false_alarm: Annotated[int, Field(ge=1)]
    checks: Checks
    accept: list[Sha256] = []


class Validation(Settings):
    """With `stop` a rejected batch ends the run. With `quarantine` it is left out with a warning."""

    on_failure: OnFailure
    history: History
