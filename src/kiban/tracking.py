"""MLflow, never in the way: a run is logged if the server takes it, and the pipeline goes on if not."""

import logging
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiban.contract import Column
from kiban.git import git

MOST_VALUE = 500  # characters of a parameter


@dataclass(frozen=True)
class Run:
    """What is logged of one run; `artifacts` are files and folders, logged under their own paths."""

    name: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, Any]
    tags: Mapping[str, str]
    artifacts: list[Path]
    model: Any
    trusted_types: list[str]
    features: Mapping[str, Column]
    requirements: list[str]


def flatten(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings as (dotted name, value)."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from flatten(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, node


def git_state(root: Path) -> dict[str, str]:
    """The commit checked out in `root`, and whether the tree differs from it; nothing outside a git repository."""
    try:
        commit = git(root, "rev-parse", "HEAD").strip()
        return {"git.commit": commit, "git.dirty": str(bool(git(root, "status", "--porcelain"))).lower()}
    except (OSError, subprocess.CalledProcessError):
        return {}


def log(run: Run, experiment: str, root: Path, request_timeout: int) -> str:
    """Log the run and return where it went: MLFLOW_TRACKING_URI, or sqlite and a folder under `root`/mlruns.

    Raises whatever MLflow raises, at the first request that fails; a server gets no second try.
    """
    local = root.resolve() / "mlruns"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{local / 'mlflow.db'}"
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(request_timeout)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"] = "0"
    if uri.startswith("sqlite"):
        local.mkdir(exist_ok=True)
    import mlflow  # reads these variables, and takes three seconds

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    if mlflow.get_experiment_by_name(experiment) is None:
        mlflow.create_experiment(experiment, (local / "artifacts").as_uri() if uri.startswith("sqlite") else None)
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=run.name, tags=dict(run.tags)):
        mlflow.log_params({name: str(value)[:MOST_VALUE] for name, value in flatten(run.parameters)})
        numbers = {name: float(value) for name, value in flatten(run.metrics) if isinstance(value, int | float)}
        mlflow.log_metrics(numbers)
        for path in run.artifacts:
            if path.is_dir():
                mlflow.log_artifacts(str(path), path.as_posix())
            else:
                mlflow.log_artifact(str(path), path.parent.as_posix() if path.parent.name else None)
        _log_model(run)
    return uri.split("@")[-1]  # without a password


def _log_model(run: Run) -> None:
    import mlflow.sklearn
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs: list[Any] = [
        ColSpec("string" if column.type == "string" else "double", name) for name, column in run.features.items()
    ]
    mlflow.sklearn.log_model(
        run.model,
        name="model",
        signature=ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double")])),
        pip_requirements=run.requirements,  # to find them out itself MLflow would load the model in another process
        serialization_format="skops",
        skops_trusted_types=run.trusted_types,
        pyfunc_predict_fn="predict_proba",
    )
