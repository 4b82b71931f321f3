"""Kiban (基盤, "foundation"): the machine-learning platform for a team that has none."""

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kiban.notebook.opened import Opened

if find_spec("pydantic") is None:  # the stages are run by the `python` of PATH, whichever that is
    sys.exit(
        f"error: {sys.executable} has not the packages of the project: run `source .venv/bin/activate`, or `make repro`"
    )


def open(rev: str | None = None, repo: str | None = None) -> "Opened":
    """A version of the repository: a commit, a branch, a tag, an experiment, a version such as v1.2.0, `prod`, or the
    id of a model; the working tree without a name.

    It is of the repository in which this runs, or of the one at the address `repo`, which git clones.

    Raises KibanError if there is none of this name.
    """
    from kiban.notebook.opened import opened

    return opened(rev, repo)
