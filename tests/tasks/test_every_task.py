"""Each task from the contract to the answer, on real flights: the model of another column of the same table."""

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from http_cases import client_of
from slice import compose_here, prepared_rows, run_stage
from starlette.testclient import TestClient

from kiban.cli.score import score
from kiban.core import paths
from kiban.core.settings import Sections, read
from kiban.evaluate.settings import Gate
from kiban.review import comparison
from kiban.servable import columns, skops_file
from kiban.servable.evaluation import Evaluation
from kiban.servable.load import Servable, load
from kiban.serve.model import Served
from kiban.serve.settings import Serving
from kiban.tasks.metric import Terms
from kiban.track import mlflow_store, plots, run

TREES = "sklearn.ensemble.HistGradientBoosting"


class Params(Sections):
    serving: Serving
    gate: Gate


class Case(NamedTuple):
    """A target, what the contract says of it, the model, the gate, and the fields of an answer."""

    target: str
    edit: dict[str, Any]
    model: str
    gate: tuple[str, float]
    fields: list[str]


CASES = {
    "binary": Case("weekday", {"positive": "Sat"}, f"{TREES}Classifier", ("skill", -1.0), ["probability", "label"]),
    "multiclass": Case("origin", {}, f"{TREES}Classifier", ("log_loss", 1.0), ["label", "probabilities"]),
    "regression": Case("distance", {}, f"{TREES}Regressor", ("rmse", 500.0), ["value", "low", "high"]),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, project: Path) -> Case:
    """The project with another target, trained and evaluated."""
    case = CASES[request.param]
    path = paths.prepared_contract("flights")
    contract = yaml.safe_load(path.read_text())
    contract["columns"]["late"] |= {"role": "info"}
    contract["columns"][case.target] |= {"role": "target", **case.edit}
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    metric, threshold = case.gate
    compose_here(
        f"model._target_={case.model}",
        "model.max_iter=20",
        "model.min_samples_leaf=50",
        f"plots={request.param}",
        f"gate.metric={metric}",
        f"gate.threshold={threshold}",
    )
    for stage in ("train", "evaluate"):
        run_stage(stage)
    return case


@pytest.fixture
def servable(case: Case) -> Servable:
    return load()


@pytest.fixture
def client(servable: Servable) -> TestClient:
    return client_of(Served(servable, read(Params).serving, paths.EVALUATION))


def test_it_is_served_by_onnx_and_better_than_its_baseline(case: Case, servable: Servable) -> None:
    assert servable.manifest.format == "onnx"
    assert (servable.manifest.interval is not None) == (servable.task.name == "regression")
    evaluation = Evaluation.model_validate_json(paths.EVALUATION.read_bytes())
    assert evaluation.gate.passed
    assert evaluation.train["skill"] is not None
    assert evaluation.train["skill"] > 0
    assert evaluation.prior["train"]["skill"] == 0
    assert json.loads(paths.METRICS.read_bytes())["test"].keys() == set(servable.task.compared)
    if servable.task.name == "regression":
        assert evaluation.test["coverage"] == pytest.approx(0.9, abs=0.1)
    assert {"by_batch.csv", "importance.csv"} < {path.name for path in Path("reports/plots").iterdir()}


def test_every_way_to_ask_gives_the_same_answer(case: Case, servable: Servable, client: TestClient) -> None:
    rows = prepared_rows("2013-03").slice(0, 50).drop_columns(["late", case.target])
    pq.write_table(rows, "in.parquet")
    features = list(servable.contract.features())
    records = [
        {name: value for name, value in record.items() if value is not None}
        for record in rows.select(features).to_pylist()
    ]
    answer = client.post("/predict", json={"records": records}).json()
    predictions = answer["predictions"]
    assert [list(prediction) for prediction in predictions] == [case.fields] * 50
    document = client.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/Answer", "components": document["components"]}
    jsonschema.validate(answer, schema)
    text = client.post("/invocations", json={"records": records}, headers={"accept": "text/csv"}).text
    flat = [
        [part for value in prediction.values() for part in (value.values() if isinstance(value, dict) else [value])]
        for prediction in predictions
    ]
    as_text = [[str(part).lower() if isinstance(part, bool) else str(part) for part in parts] for parts in flat]
    assert list(csv.reader(io.StringIO(text))) == as_text
    result = CliRunner().invoke(score, ["in.parquet", "out.parquet", "--any-model"], catch_exceptions=False)
    scored = pq.read_table("out.parquet")
    added = [name for name in scored.column_names if name not in rows.column_names]
    assert added[-1] == "model_id"
    assert [list(row.values()) for row in scored.select(added[:-1]).to_pylist()] == [
        [prediction["label"], *prediction["probabilities"].values()] if "probabilities" in prediction else parts
        for prediction, parts in zip(predictions, flat, strict=True)
    ]
    assert "score: 50 rows" in result.output


def test_the_description_and_the_page_speak_of_the_task(case: Case, servable: Servable, client: TestClient) -> None:
    model = client.get("/model").json()
    assert model["task"] == servable.task.title
    assert (model["target"]["name"], model["target"]["positive"]) == (case.target, case.edit.get("positive"))
    assert (model["threshold"] is None, model["interval"] is None) == (
        servable.task.name != "binary",
        servable.task.name != "regression",
    )
    html = client.get("/").text
    for name in servable.task.compared:
        assert servable.task.metrics[name].label in html


def test_its_seven_plots_are_drawn(case: Case, servable: Servable, repository: Path) -> None:
    drawn = plots.specifications(Path())
    words = yaml.safe_load(Path("params.yaml").read_bytes())["plots"]
    assert list(drawn) == [name for plot in words.values() for name in plot]
    for name, file in plots.draw(drawn, Path("pictures")).items():
        assert file.stat().st_size > 8_000, name
    for plot in (plot for named in words.values() for plot in named.values()):
        ((file, y),) = plot["y"].items()
        with Path(file).open() as table:
            assert {plot["x"], *([y] if isinstance(y, str) else y)} <= set(next(csv.reader(table)))


def test_two_versions_are_compared_by_its_metrics(case: Case, servable: Servable) -> None:
    predictions = pq.read_table(paths.PREDICTIONS).replace_schema_metadata(None)
    gate = read(Params).gate
    rows = comparison.paired(predictions, predictions, gate.split)
    report = Evaluation.model_validate_json(paths.EVALUATION.read_bytes())
    terms = Terms(np.asarray(report.baseline), report.threshold)
    scores = comparison.measured(rows, gate, servable.contract, "America/New_York", (terms, terms))
    reported = report.splits[gate.split]
    assert set(scores.overall) == {name for name in servable.task.metrics if reported.get(name) is not None}
    assert all(difference.low == difference.high == 0 for difference in scores.overall.values())
    for name, difference in scores.overall.items():
        assert difference.after == pytest.approx(reported[name], rel=1e-5)


def test_mlflow_has_a_model_that_answers_in_the_unit_of_the_target(case: Case, servable: Servable) -> None:
    manifest = servable.manifest
    model = skops_file.load(paths.MODEL)
    if servable.task.name != "regression":
        return
    description = run.Model(
        features={}, requirements=[], is_regression=True, offset=manifest.offset, scale=manifest.scale
    )
    values = columns.from_arrow(prepared_rows("2013-03"), servable.contract.features())
    whole = skops_file.loads(skops_file.dumps(mlflow_store._in_its_unit(model, description)), "MLflow's copy")
    np.testing.assert_allclose(whole.predict(columns.frame(values)), servable.score(values), rtol=1e-4)


def test_a_model_or_a_gate_of_another_task_is_refused(case: Case, servable: Servable) -> None:
    other = f"{TREES}{'Classifier' if servable.task.name == 'regression' else 'Regressor'}"
    from kiban.core.errors import KibanError

    compose_here(f"model._target_={other}")
    with pytest.raises(KibanError, match=f"but the task is {servable.task.title}"):
        run_stage("train")
    compose_here(f"gate.metric={'mae' if servable.task.name != 'regression' else 'roc_auc'}")
    with pytest.raises(KibanError, match=rf"gate\.metric: .* is not a metric of {servable.task.title}"):
        run_stage("evaluate")
