"""Stage config: checks that params.yaml is valid and is composed from the present conf/."""

import os
import sys
from pathlib import Path

from kiban.config import composition
from kiban.config.digest import digest
from kiban.config.params import Params, check_has_data
from kiban.core.errors import KibanError
from kiban.core.paths import CONF, CONFIG_STAMP, PARAMS
from kiban.core.settings import read
from kiban.core.versions import run_stage

DVC_EXPERIMENT = "DVC_EXP_NAME"
"""The environment variable that DVC sets for the stages of an experiment."""


def main() -> None:
    params = read(Params)
    check_has_data(params.dataset.tables)
    if params.conf_digest != digest(CONF):
        raise KibanError("conf/ was edited after params.yaml was composed from it: run `kiban compose`")
    params.applies_to.check(params.dataset.name, "the overlay of conf/experiment")
    _warn_of_edits()
    CONFIG_STAMP.parent.mkdir(exist_ok=True)
    # A constant text, so that a run of this stage does not cause a run of later stages.
    CONFIG_STAMP.write_text("params.yaml is composed from conf/\n")


def _warn_of_edits() -> None:
    """Say in which keys params.yaml differs from conf/: `dvc exp run`, which composes it, would discard them."""
    if DVC_EXPERIMENT in os.environ:
        return
    keys = composition.differing_keys(PARAMS.read_bytes(), composition.composed(Path(), []))
    if keys:
        print(
            f"warning: params.yaml differs from conf/ in {composition.listed(keys)}: the stages use it, `dvc exp run` "
            "and `kiban compose` discard it, `kiban compose --adopt NAME` keeps it",
            file=sys.stderr,
        )


if __name__ == "__main__":
    run_stage(main)
