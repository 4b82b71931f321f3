"""Kiban (基盤, "foundation"): the machine-learning platform for a team that has none."""

import sys
from importlib.util import find_spec

if find_spec("pydantic") is None:  # the stages are run by the `python` of PATH, whichever that is
    sys.exit(
        f"error: {sys.executable} has not the packages of the project: run `source .venv/bin/activate`, or `make repro`"
    )
