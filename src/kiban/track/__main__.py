"""Stage track: sends the run with its inputs and results to MLflow. The pipeline succeeds even if MLflow fails."""

import os
import sys
from pathlib import Path

from kiban.core import paths
from kiban.core.errors import one_line
from kiban.core.paths import TRACK_STAMP
from kiban.core.settings import Sections, read
from kiban.core.versions import run_stage
from kiban.data.settings import Identity
from kiban.track import delivery, outbox
from kiban.track import run as tracked
from kiban.track.collect import put, run_of
from kiban.track.settings import Tracking


class Params(Sections):
    dataset: Identity
    tracking: Tracking


def main() -> None:
    params = read(Params)
    # An experiment of `dvc exp run --temp` runs in a copy of the repository; DVC_ROOT is the repository itself.
    root = Path(os.environ.get("DVC_ROOT", "."))
    try:
        run = run_of(params.tracking.experiment)
        put(root, run, params.dataset.name)
        outcome = delivery.deliver(root, params.tracking, run.key)
        _tell(root, run, outcome)
    except Exception as error:  # a failure of tracking must not fail the pipeline
        reason = one_line(delivery.shown(str(error)))
        print(f"warning: the run was not tracked: {reason}", file=sys.stderr)
    TRACK_STAMP.write_text("the run was offered to MLflow\n")


def _tell(root: Path, run: tracked.Run, outcome: delivery.Outcome) -> None:
    where = delivery.shown(delivery.store())
    if run.key in outcome.delivered or not (root / paths.OUTBOX / run.key).exists():  # or another process delivered it
        print(f"track: {run.name} is in {where}")
    else:
        print(f"warning: {where} did not take the run: {outcome.failure}", file=sys.stderr)
    if waiting := len(outbox.waiting(root)):
        advice = "the next run delivers them, or `kiban track --deliver`"
        print(f"track: {waiting} runs wait in {paths.OUTBOX}: {advice}", file=sys.stderr)


if __name__ == "__main__":
    run_stage(main)
