"""Stage track: the run, with all that it came from and gave, goes to MLflow; the pipeline goes on in any case."""

import importlib.metadata
import json
import os
import re
import sys
from pathlib import Path

import yaml

from kiban import contract, ledger, tracking, verdict
from kiban.errors import exit_on_error
from kiban.servable import manifest, skops_file
from kiban.settings.base import PARAMS, Sections, read
from kiban.settings.dataset import Identity
from kiban.settings.tracking import Tracking

STAMP = Path("reports/track.stamp")
METRICS = Path("reports/metrics.json")
MODEL = Path("models/model.skops")
MODEL_PACKAGES = ("scikit-learn", "skops", "pandas", "numpy")


class Params(Sections):
    dataset: Identity
    tracking: Tracking


def main() -> None:
    settings = read(Params)
    # An experiment of `dvc exp run --temp` runs in a copy of the repository; DVC_ROOT is the repository itself.
    root = Path(os.environ.get("DVC_ROOT", "."))
    try:
        where = tracking.log(_run(settings), settings.tracking.experiment, root, settings.tracking.request_timeout)
        print(f"track: logged to {where}")
    except Exception as error:  # whatever goes wrong with tracking, the pipeline's result is the same
        # An address may hold a password.
        reason = re.sub(r"//[^/\s@]*@", "//", str(error))
        print(f"warning: the run was not tracked: {' '.join(reason.split())[:300]}", file=sys.stderr)
    STAMP.write_text("the run was offered to MLflow\n")


def _run(settings: Params) -> tracking.Run:
    described, model_id = manifest.read_checked(manifest.FOLDER)
    dataset = settings.dataset.name
    parameters = yaml.load(PARAMS.read_text(encoding="utf-8"), yaml.CSafeLoader)
    raw = verdict.read("raw").accepted
    model = parameters["model"]["_target_"].rsplit(".")[-1]
    return tracking.Run(
        name=os.environ.get("DVC_EXP_NAME") or f"{model} {model_id[:12]}",
        parameters=parameters,
        metrics=json.loads(METRICS.read_text(encoding="utf-8")),
        tags={
            "model_id": model_id,
            **{
                f"data.raw.{table}": " ".join(f"{batch}:{sha[:12]}" for batch, sha in raw[table].items())
                for table in raw
            },
            "data.prepared": " ".join(f"{batch}:{sha[:12]}" for batch, sha in described.prepared.items()),
            **tracking.git_state(Path()),
        },
        artifacts=[
            PARAMS,
            METRICS,
            Path("reports/data.json"),
            Path("reports/plots"),
            verdict.folder("raw"),
            verdict.folder("prepared"),
            ledger.ledger_path(dataset),
            manifest.FOLDER,
        ],
        model=skops_file.load(MODEL),
        trusted_types=skops_file.TRUSTED,
        features=contract.read_prepared(manifest.FOLDER / manifest.CONTRACT).features(),
        requirements=[f"{name}=={importlib.metadata.version(name)}" for name in MODEL_PACKAGES],
    )


if __name__ == "__main__":
    exit_on_error(main)
