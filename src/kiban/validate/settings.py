"""The section `validation`: what happens to a batch that is rejected."""

from typing import Literal

from kiban.core.settings import Settings

OnFailure = Literal["stop", "quarantine"]


class Validation(Settings):
    """With `stop` a rejected batch ends the run. With `quarantine` it is left out with a warning."""

    on_failure: OnFailure
