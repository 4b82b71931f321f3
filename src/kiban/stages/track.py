"""Stage track: the run, with all that it came from and gave, goes to MLflow; the pipeline goes on in any case."""

import hashlib
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from kiban import contract, ledger, plots, prepared, verdict
from kiban.errors import KibanError, exit_on_error
from kiban.git import state
from kiban.servable import manifest
from kiban.settings.base import PARAMS, Sections, read
from kiban.settings.dataset import Identity
from kiban.settings.split import SPLITS
from kiban.settings.tracking import Tracking
from kiban.tracking import delivery, outbox
from kiban.tracking import run as tracked

STAMP = Path("reports/track.stamp")
EVALUATION = Path("reports/evaluation.json")
METRICS = Path("reports/metrics.json")
LOCK = Path("dvc.lock")
MODEL = Path("models/model.skops")
PLOTS = Path("reports/plots")
MODEL_PACKAGES = ("scikit-learn", "skops", "pandas", "numpy")
MOST_SECONDS = 10  # for runs of earlier times that wait


class Params(Sections):
    dataset: Identity
    tracking: Tracking


def main() -> None:
    params = read(Params)
    # An experiment of `dvc exp run --temp` runs in a copy of the repository; DVC_ROOT is the repository itself.
    root = Path(os.environ.get("DVC_ROOT", "."))
    try:
        run = _run(params)
        _put(root, run, params.dataset.name)
        outcome = delivery.deliver(root, params.tracking.request_timeout, MOST_SECONDS)
        _tell(root, run, outcome)
    except Exception as error:  # whatever goes wrong with tracking, the pipeline's result is the same
        reason = " ".join(delivery.shown(str(error)).split())[:300]
        print(f"warning: the run was not tracked: {reason}", file=sys.stderr)
    STAMP.write_text("the run was offered to MLflow\n")


def _tell(root: Path, run: tracked.Run, outcome: delivery.Outcome) -> None:
    waiting = [other.key for _, other in outbox.waiting(root)]
    where = delivery.shown(delivery.store(root))
    if run.key not in waiting:
        print(f"track: {run.name} is in {where}")
    else:
        print(f"warning: {where} did not take the run: {outcome.failure}", file=sys.stderr)
    if waiting:
        advice = "the next run delivers them, or `kiban track --deliver`"
        print(f"track: {len(waiting)} runs wait in {outbox.FOLDER}: {advice}", file=sys.stderr)


def _put(root: Path, run: tracked.Run, dataset: str) -> None:
    paths = [
        PARAMS,
        METRICS,
        EVALUATION,
        prepared.REPORT,
        PLOTS,
        verdict.folder("raw"),
        verdict.folder("prepared"),
        ledger.ledger_path(dataset),
        LOCK,
        manifest.FOLDER,
    ]
    artifacts = {path.as_posix(): path for path in paths}
    with tempfile.TemporaryDirectory() as folder:
        try:
            drawn = plots.draw(plots.specifications(Path()), Path(folder))
            artifacts |= {f"pictures/{file.name}": file for file in drawn.values()}
        except KibanError as error:
            print(f"warning: the tracked run has no pictures: {error}", file=sys.stderr)
        outbox.put(root, run, artifacts, MODEL)


def _run(params: Params) -> tracked.Run:
    _, model_id = manifest.read_checked(manifest.FOLDER)
    parameters = yaml.load(PARAMS.read_bytes(), yaml.CSafeLoader)
    evaluation = json.loads(EVALUATION.read_bytes())
    by_split = {name: evaluation[name] for name in (*SPLITS, "without")}
    stages: dict[str, Any] = yaml.load(LOCK.read_bytes(), yaml.CSafeLoader)["stages"]
    features = contract.read_prepared(manifest.FOLDER / manifest.CONTRACT).features()
    hashes = {out["path"]: out.get("md5", "") for stage in stages.values() for out in stage.get("outs", [])}
    return tracked.Run(
        key=_key(stages),
        at=round(time.time() * 1000),
        experiment=params.tracking.experiment,
        name=os.environ.get("DVC_EXP_NAME") or f"{parameters['model']['_target_'].rsplit('.')[-1]} {model_id[:12]}",
        parameters=tracked.parameters(parameters),
        metrics=[*tracked.metrics(by_split), *tracked.metrics_by_batch(evaluation["by_batch"])],
        tags={
            "model_id": model_id,
            "gate": "passed" if evaluation["gate"]["passed"] else "not passed",
            **{f"validation.{level}": _validation(level) for level in ("raw", "prepared")},
            **state(Path()),
        },
        data=[
            tracked.Data(digest=digest.removesuffix(".dir"), path=path)
            for path, digest in hashes.items()
            if path.startswith("data/")
        ],
        model=tracked.Model(
            features={name: "string" if of.type == "string" else "double" for name, of in features.items()},
            requirements=[f"{name}=={importlib.metadata.version(name)}" for name in MODEL_PACKAGES],
        ),
    )


def _key(stages: dict[str, Any]) -> str:
    """The digest of dvc.lock without this stage's own entry, which is that of the run before."""
    before = {name: of for name, of in stages.items() if name != "track"}
    return hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:32]


def _validation(level: verdict.Level) -> str:
    found = verdict.read(level)
    accepted, rejected = (sum(len(of) for of in batches.values()) for batches in (found.accepted, found.rejected))
    warnings = sum(finding.severity == "warn" for finding in found.findings)
    return f"{accepted} batches accepted, {rejected} rejected, {warnings} warnings"


if __name__ == "__main__":
    exit_on_error(main)
