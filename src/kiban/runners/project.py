"""What MLproject starts: `mlflow run . -P model=logistic -P model.C=0.1` runs `dvc exp run` with these overrides.

MLflow makes a run for the project, and gives its id in MLFLOW_RUN_ID. The run of the stage track becomes its child.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from kiban.core import paths
from kiban.core.errors import KibanError, exit_on_error, one_line
from kiban.servable import manifest
from kiban.track import delivery
from kiban.track.collect import PROJECT_RUN


def overrides(words: Sequence[str]) -> list[str]:
    """The overrides of conf/ in what MLflow appends to the command for each parameter: --NAME VALUE.

    Raises KibanError if a word is something else.
    """
    names, values = words[::2], words[1::2]
    if len(names) != len(values) or not all(name.startswith("--") for name in names):
        raise KibanError(f"{' '.join(words)}: parameters are given as `mlflow run . -P model.C=0.1`")
    return [f"{name.removeprefix('--')}={value}" for name, value in zip(names, values, strict=True)]


def main() -> None:
    """Run the stages, up to the one that is the first argument if it is no parameter."""
    words = sys.argv[1:]
    until = words[:1] if words and not words[0].startswith("--") else []
    given = overrides(words[len(until) :])
    options = [word for override in given for word in ("--set-param", override)]
    command = ["dvc", "exp", "run", *options, *until] if given else ["dvc", "repro", *until]
    if subprocess.run(command, check=False).returncode:
        raise KibanError(f"`{' '.join(command[:3])}` failed, see above")
    run_id = os.environ.get(PROJECT_RUN)
    if run_id and not until:  # an earlier stage tracks nothing
        _tag(run_id)


def _tag(run_id: str) -> None:
    """Let MLflow's run of the project name the model, and the run that has its results: an older one, if it is not new.

    MLflow is never in the way: a failure is a warning.
    """
    from kiban.track.mlflow_store import tag_with_model

    try:
        tag_with_model(run_id, manifest.read_checked(paths.SERVABLE)[1], delivery.store())
    except Exception as error:  # of MLflow, of any kind
        print(f"warning: MLflow's run of the project has no model: {one_line(error)}", file=sys.stderr)


if __name__ == "__main__":
    exit_on_error(main)
