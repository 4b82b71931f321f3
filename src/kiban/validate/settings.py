"""The section `validation`: what happens to a batch that is rejected."""

from typing import Literal

from kiban.core.settings import Settings

OnFailure = Literal["stop", "quarantine"]


class Validation(Settings):
    """`stop`: a rejected batch ends the run. `quarantine`: it is left out, loudly, and the others go on."""

    on_failure: OnFailure
