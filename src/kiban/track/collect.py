"""Collecting the record of the pipeline's last run from the files that its stages wrote."""

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.git import git
from kiban.core.paths import EVALUATION, LOCK, METRICS, MODEL, PARAMS, PLOTS
from kiban.core.settings import Nested, changed, load
from kiban.core.text import plain
from kiban.core.versions import BOOSTERS
from kiban.data import contract, verdict
from kiban.servable import manifest
from kiban.servable.evaluation import Evaluation
from kiban.tasks.own import every_metric
from kiban.tasks.task import task_of
from kiban.track import outbox, plots
from kiban.track import run as tracked
from kiban.track.commit import state

DESCRIPTION, PARENT = "mlflow.note.content", "mlflow.parentRunId"  # MLflow's own names
PROJECT_RUN = "MLFLOW_RUN_ID"  # under `mlflow run`: the run of the project
MOST_CHANGES = 20
MODEL_PACKAGES = ("scikit-learn", "skops", "pandas", "numpy")


def put(root: Path, run: tracked.Run, dataset: str) -> None:
    tracked_paths = [
        PARAMS,
        METRICS,
        EVALUATION,
        paths.DATA,
        PLOTS,
        paths.validation("raw"),
        paths.validation("prepared"),
        paths.ledger(dataset),
        LOCK,
        paths.SERVABLE,
    ]
    artifacts = {path.as_posix(): path for path in tracked_paths}
    with tempfile.TemporaryDirectory() as folder:
        try:
            drawn = plots.draw(plots.specifications(Path()), Path(folder))
            artifacts |= {f"pictures/{file.name}": file for file in drawn.values()}
        except Exception as error:  # of DVC or the renderer: a run without pictures is still worth tracking
            print(f"warning: the tracked run has no pictures: {error}", file=sys.stderr)
        outbox.put(root, run, artifacts, MODEL)


def run_of(experiment: str) -> tracked.Run:
    """The run whose results are in the reports, the models and dvc.lock."""
    described, model_id, _ = manifest.read_checked(paths.SERVABLE)
    parameters = load(PARAMS.read_bytes())
    evaluation = Evaluation.model_validate_json(EVALUATION.read_bytes())
    by_split: dict[str, Any] = {**evaluation.splits, "without": evaluation.without}
    stages: dict[str, Any] = yaml.load(LOCK.read_bytes(), yaml.CSafeLoader)["stages"]
    table = contract.read_prepared(paths.SERVABLE / manifest.CONTRACT)
    hashes = {output["path"]: output.get("md5", "") for stage in stages.values() for output in stage.get("outs", [])}
    return tracked.Run(
        key=_key(stages),
        at=round(time.time() * 1000),
        experiment=experiment,
        name=os.environ.get("DVC_EXP_NAME") or f"{parameters['model']['_target_'].rsplit('.')[-1]} {model_id[:12]}",
        parameters=tracked.parameters({name: value for name, value in parameters.items() if name != "plots"}),
        metrics=[
            *tracked.metrics(by_split),
            *tracked.metrics_by_batch({batch: result.figures for batch, result in evaluation.by_batch.items()}),
        ],
        tags={
            "model_id": model_id,
            DESCRIPTION: _description(evaluation, parameters),
            "gate": "passed" if evaluation.gate.passed else "not passed",
            **{f"validation.{level}": verdict.read(level).in_words() for level in verdict.LEVELS},
            **state(Path()),
            **({PARENT: project} if (project := os.environ.get(PROJECT_RUN)) else {}),
        },
        data=[
            tracked.Data(digest=digest.removesuffix(".dir"), path=path)
            for path, digest in hashes.items()
            if path.startswith("data/")
        ],
        model=tracked.Model(
            features={
                name: "string" if column.type == "string" else "double" for name, column in table.features().items()
            },
            requirements=[f"{name}=={importlib.metadata.version(name)}" for name in _packages(parameters)],
            is_regression=task_of(table.columns[table.target()]).name == "regression",
            offset=described.offset,
            scale=described.scale,
        ),
    )


def _description(evaluation: Evaluation, parameters: Nested) -> str:
    """What MLflow shows above a run: the result, and what differs from the commit that is checked out."""
    gate = evaluation.gate
    value = evaluation.splits[gate.split].get(gate.metric)
    result = f"{every_metric()[gate.metric].title} on the {gate.split} rows: {value}, gate {gate.in_words()}"
    try:
        committed = load(git(Path(), "show", f"HEAD:./{PARAMS}").encode())
    except (OSError, subprocess.CalledProcessError, KibanError):
        return result
    changes = list(changed(committed, parameters).items())[:MOST_CHANGES]
    texts = [f"- `{name}`: {plain(old)} → {plain(new)}" for name, (old, new) in changes]
    return "\n".join(
        [result, "", "Changed since the commit:" if texts else "The parameters are those of the commit.", *texts]
    )


def _packages(parameters: Nested) -> list[str]:
    """What the model needs to be loaded."""
    package = str(parameters["model"]["_target_"]).partition(".")[0]
    return [*MODEL_PACKAGES, *([BOOSTERS[package]] if package in BOOSTERS else [])]


def _key(stages: dict[str, Any]) -> str:
    """A digest of dvc.lock without its entries of config, on which no result depends, and of track, which is older."""
    results = {name: stage for name, stage in stages.items() if name not in ("config", "track")}
    return hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()[:32]
