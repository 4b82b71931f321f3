"""Delivering one run to MLflow, unless it is there already. The only module that imports MLflow."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
from mlflow.entities import Dataset, DatasetInput, ViewType
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Param as MlflowParam
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from kiban.core.errors import KibanError
from kiban.servable import skops_file
from kiban.track import outbox
from kiban.track.champion import ALIAS, Champion
from kiban.track.run import Metric, Model, Run

KEY = "kiban.key"
RESULTS = "kiban.results"
"""The tag of a project's run that names the run which has its results."""
VERSION, AT = "kiban.version", "kiban.champion_at"
FINISHED = "FINISHED"

for _name in ("alembic", "mlflow"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def deliver(entry: Path, run: Run, uri: str, artifacts: str | None, step: Callable[[], None]) -> str:
    """Deliver the run in the folder `entry` to the store at `uri` and return its id.

    A run that the store has whole is not delivered again. `artifacts` is the location for the files of a new
    experiment, or None for the server's default. `step` is called after each request to report progress. Raises
    KibanError or FileNotFoundError if the entry is not whole, and any exception of MLflow.
    """
    files = sorted(path for path in (entry / outbox.ARTIFACTS).rglob("*") if path.is_file())
    model = skops_file.load(entry / outbox.MODEL, skops_file.TRAINED) if run.model else None
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    experiment = _experiment(client, run.experiment, artifacts)
    step()
    for stored_run in client.search_runs([experiment], f"tags.`{KEY}` = '{run.key}'", ViewType.ACTIVE_ONLY):
        if stored_run.info.status == FINISHED:
            return stored_run.info.run_id
        _remove_partial(client, experiment, stored_run.info.run_id)
        step()
    run_id = client.create_run(experiment, run.at, {**run.tags, KEY: run.key}, run.name).info.run_id
    step()
    client.log_batch(run_id, _metrics(run.metrics, run.at), _parameters(run.parameters))
    step()
    if run.data:
        inputs = [Dataset(data.path, data.digest, "dvc", data.path) for data in run.data]
        client.log_inputs(run_id, [DatasetInput(dataset, []) for dataset in inputs])
        step()
    for file in files:
        parent = file.relative_to(entry / outbox.ARTIFACTS).parent.as_posix()
        client.log_artifact(run_id, str(file), None if parent == "." else parent)
        step()
    if run.model:
        _log_model(model, run.model, run_id)
        step()
    for child in run.children:
        tags = {**child.tags, MLFLOW_PARENT_RUN_ID: run_id}
        child_id = client.create_run(experiment, run.at, tags, child.name).info.run_id
        client.log_batch(child_id, _metrics(child.metrics, run.at), _parameters(child.parameters))
        client.set_terminated(child_id, FINISHED, run.at)
        step()
    client.set_terminated(run_id, FINISHED, run.at)
    return run_id


def set_champion(champion: Champion, uri: str) -> None:
    """Let the alias of the registered model name this model, which is registered if it was not.

    Raises KibanError if no run in the store at `uri` has the model, and any exception of MLflow.
    """
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    for run in _runs_with(client, champion.model_id):
        logged = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
        if logged:
            break
    else:
        raise KibanError(f"no run has the model {champion.model_id[:12]}, which is to be the champion")
    try:
        client.create_registered_model(champion.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if client.get_registered_model(champion.name).tags.get(AT, "") > champion.at:
        return
    known = client.search_model_versions(f"name = '{champion.name}'")
    ours = [each for each in known if each.tags.get(VERSION) == champion.version]
    version = ours[0].version if ours else _register(client, champion, logged[0].model_id, run.info.run_id)
    client.set_registered_model_alias(champion.name, ALIAS, version)
    client.set_registered_model_tag(champion.name, AT, champion.at)


def tag_with_model(run_id: str, model_id: str, uri: str) -> None:
    """Let a run in the store at `uri` name a model, and the newest run that has its results.

    Raises KibanError if there is none, and any exception of MLflow.
    """
    client = mlflow.MlflowClient(uri)
    others = [run.info.run_id for run in _runs_with(client, model_id) if run.info.run_id != run_id]
    if not others:
        raise KibanError(f"no run has the model {model_id[:12]} yet")
    client.set_tag(run_id, "model_id", model_id)
    client.set_tag(run_id, RESULTS, others[0])


def _runs_with(client: Any, model_id: str) -> list[Any]:
    """The runs that are done and have a model, of all experiments, the newest first."""
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.model_id = '{model_id}'", ViewType.ACTIVE_ONLY)
    return [run for run in runs if run.info.status == FINISHED]


def _register(client: Any, champion: Champion, model: str, run_id: str) -> str:
    tags = {VERSION: champion.version}
    made = client.create_model_version(champion.name, f"models:/{model}", run_id, tags=tags, model_id=model)
    return str(made.version)


def _experiment(client: Any, name: str, artifacts: str | None) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.create_experiment(name, artifacts)
        except MlflowException:  # another machine has just created it, or it cannot be created
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        raise KibanError(
            f"the experiment {name!r} of MLflow was deleted: `mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id}` brings it back, or set another tracking.experiment"
        )
    return experiment.experiment_id


def _remove_partial(client: Any, experiment: str, run_id: str) -> None:
    """Remove a run whose delivery was interrupted, with its models and children, to deliver it again."""
    for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        client.delete_logged_model(model.model_id)
    for child in client.search_runs([experiment], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}'"):
        client.delete_run(child.info.run_id)
    client.delete_run(run_id)


def _metrics(metrics: list[Metric], timestamp: int) -> list[Any]:
    return [MlflowMetric(metric.name, metric.value, timestamp, metric.step) for metric in metrics]


def _parameters(parameters: dict[str, str]) -> list[Any]:
    return [MlflowParam(name, value) for name, value in parameters.items()]


def _in_its_unit(model: Any, description: Model) -> Any:
    """A regression that gives y, of a fitted one that gives (y - offset) / scale."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    scaler.mean_, scaler.scale_ = np.array([description.offset]), np.array([description.scale])
    scaler.var_, scaler.n_features_in_, scaler.n_samples_seen_ = scaler.scale_**2, 1, 1
    whole = TransformedTargetRegressor(regressor=model, transformer=scaler)
    whole.regressor_, whole.transformer_, whole._training_dim = model, scaler, 1
    return whole


def _log_model(model: Any, description: Model, run_id: str) -> None:
    if description.is_regression:
        model = _in_its_unit(model, description)
    inputs: list[Any] = [ColSpec(kind, name) for name, kind in description.features.items()]
    with mlflow.start_run(run_id):
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double")])),
            pip_requirements=description.requirements,  # or MLflow loads the model in another process to infer them
            serialization_format="skops",
            skops_trusted_types=skops_file.TRAINED,
            pyfunc_predict_fn="predict" if description.is_regression else "predict_proba",
        )
