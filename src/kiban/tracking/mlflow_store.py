"""One run to MLflow: found by its key or created, filled, and finished. The only module that imports MLflow."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.sklearn
from mlflow.entities import Dataset, DatasetInput, ViewType
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Param as MlflowParam
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from kiban.servable import skops_file
from kiban.tracking import outbox
from kiban.tracking.run import Child, Metric, Model, Run

KEY = "kiban.key"

for _name in ("alembic", "mlflow"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def deliver(entry: Path, run: Run, uri: str, artifacts: str | None, step: Callable[[], None]) -> str:
    """Bring the run that waits in `entry` to the store at `uri`, if it has not got it whole, and return its id.

    `artifacts` is where a new experiment keeps its files, None for the server's own choice. `step` is called after each
    request, so that a caller can see that it goes on. Raises whatever MLflow raises.
    """
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    experiment = _experiment(client, run.experiment, artifacts)
    step()
    found = client.search_runs([experiment], f"tags.`{KEY}` = '{run.key}'", ViewType.ACTIVE_ONLY, max_results=1)
    step()
    if found and found[0].info.status == "FINISHED":
        return found[0].info.run_id
    if found:  # a delivery was cut off in the middle: the same again, which MLflow takes as the same
        run_id = found[0].info.run_id
    else:
        run_id = client.create_run(experiment, run.at, {**run.tags, KEY: run.key}, run.name).info.run_id
    step()
    client.log_batch(run_id, _metrics(run.metrics, run.at), _parameters(run.parameters))
    step()
    if run.data:
        inputs = [Dataset(data.path, data.digest, "dvc", data.path) for data in run.data]
        client.log_inputs(run_id, [DatasetInput(each, []) for each in inputs])
        step()
    folder = entry / outbox.ARTIFACTS
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        parent = file.relative_to(folder).parent.as_posix()
        client.log_artifact(run_id, str(file), None if parent == "." else parent)
        step()
    if run.model and not client.get_run(run_id).outputs.model_outputs:
        _log_model(entry, run.model, run_id)
        step()
    _deliver_children(client, experiment, run_id, run, step)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _experiment(client: Any, name: str, artifacts: str | None) -> str:
    known = client.get_experiment_by_name(name)
    if known is None:
        try:
            return client.create_experiment(name, artifacts)
        except MlflowException:  # another machine has just made it, or it cannot be made
            known = client.get_experiment_by_name(name)
            if known is None:
                raise
    return known.experiment_id


def _metrics(metrics: list[Metric], at: int) -> list[Any]:
    return [MlflowMetric(metric.name, metric.value, at, metric.step) for metric in metrics]


def _parameters(parameters: dict[str, str]) -> list[Any]:
    return [MlflowParam(name, value) for name, value in parameters.items()]


def _log_model(entry: Path, model: Model, run_id: str) -> None:
    inputs: list[Any] = [ColSpec(kind, name) for name, kind in model.features.items()]
    with mlflow.start_run(run_id):
        mlflow.sklearn.log_model(
            skops_file.load(entry / outbox.MODEL),
            name="model",
            signature=ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double")])),
            pip_requirements=model.requirements,  # to find them out itself MLflow would load the model elsewhere
            serialization_format="skops",
            skops_trusted_types=skops_file.TRUSTED,
            pyfunc_predict_fn="predict_proba",
        )


def _deliver_children(client: Any, experiment: str, parent: str, run: Run, step: Callable[[], None]) -> None:
    if not run.children:
        return
    of_parent = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}'"
    there = client.search_runs([experiment], of_parent, max_results=len(run.children))
    by_name = {child.info.run_name: child.info for child in there}
    for child in run.children:
        known = by_name.get(child.name)
        if known is None or known.status != "FINISHED":
            _deliver_child(client, experiment, parent, run, child, known and known.run_id)
        step()


def _deliver_child(client: Any, experiment: str, parent: str, run: Run, child: Child, run_id: str | None) -> None:
    if run_id is None:
        tags = {**child.tags, MLFLOW_PARENT_RUN_ID: parent}
        run_id = client.create_run(experiment, run.at, tags, child.name).info.run_id
    client.log_batch(run_id, _metrics(child.metrics, run.at), _parameters(child.parameters))
    client.set_terminated(run_id, "FINISHED", run.at)
