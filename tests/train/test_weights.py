"""A column of role weight: from the contract to the metrics of the report."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from slice import SMALL_TREES, compose_here, prepared_rows, run_stage

from kiban.core import paths
from kiban.core.settings import Sections, read
from kiban.data.contract import Column
from kiban.evaluate.settings import Gate
from kiban.review import comparison
from kiban.servable import columns
from kiban.servable.evaluation import Evaluation
from kiban.servable.load import Servable, load
from kiban.tasks.metric import Scored, Terms
from kiban.tasks.task import BINARY
from kiban.train import decide, estimator, fit
from kiban.train.settings import Decision, Preprocessing


class Params(Sections):
    gate: Gate


@pytest.fixture
def servable(project: Path) -> Servable:
    """The project, in which a flight counts as its distance."""
    path = paths.prepared_contract("flights")
    contract = yaml.safe_load(path.read_text())
    contract["columns"]["distance"] |= {"role": "weight", "out_of_range": "reject"}
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    compose_here(*SMALL_TREES)
    for stage in ("train", "evaluate"):
        run_stage(stage)
    return load()


def test_it_is_no_input_and_all_metrics_are_weighted_by_it(servable: Servable) -> None:
    assert "distance" not in servable.contract.features()
    assert "distance" not in servable.manifest.example
    rows = prepared_rows("2013-03")
    target = columns.target_from_arrow(rows["late"], servable.target)
    scores = servable.score(columns.from_arrow(rows, servable.contract.features()))
    weights = rows["distance"].to_numpy().astype(float)
    report = Evaluation.model_validate_json(paths.EVALUATION.read_bytes())
    assert report.test["base_rate"] == pytest.approx(np.average(target, weights=weights), abs=1e-6)
    training = prepared_rows("2013-01")
    assert report.baseline == pytest.approx(
        np.average(training["late"].to_numpy(), weights=training["distance"].to_numpy())
    )
    terms = Terms(np.asarray(report.baseline), report.threshold)
    for name, metric in servable.task.metrics.items():
        if (value := report.test.get(name)) is not None:
            assert value == pytest.approx(metric.value(Scored(target, scores, weights, terms).weighted()), abs=1e-6), (
                name
            )
    plain = servable.task.metrics["roc_auc"].value(Scored(target, scores).weighted())
    assert report.test["roc_auc"] != pytest.approx(plain, abs=1e-4)


def test_a_report_compares_by_it(servable: Servable) -> None:
    predictions = pq.read_table(paths.PREDICTIONS).replace_schema_metadata(None)
    report = Evaluation.model_validate_json(paths.EVALUATION.read_bytes())
    gate = read(Params).gate
    before = predictions.drop_columns(["weight"])  # of a version without weights
    rows = comparison.paired(before, predictions, gate.split)
    assert rows["weight"].to_pylist() == predictions.filter(pc.field("split") == gate.split)["weight"].to_pylist()
    scores = comparison.measured(rows, gate, servable.contract, "America/New_York")
    assert scores.overall["roc_auc"].after == pytest.approx(report.test["roc_auc"], abs=1e-6)


def test_the_fit_and_the_threshold_count_a_row_as_often_as_its_weight(servable: Servable) -> None:
    random = np.random.default_rng(0)
    scores, weights = random.random(400).round(2), random.integers(1, 5, 400)
    target = random.random(400) < scores
    times = np.repeat(np.arange(400), weights)
    rule = {"threshold": None, "cost": {"false_positive": 1, "false_negative": 3}, "capacity": None}
    decision = Decision.model_validate({**rule, "calibration": None, "interval": 0.9})
    assert decide.threshold(decision, target, scores, weights.astype(float)) == decide.threshold(
        decision, target[times], scores[times]
    )
    errors = random.normal(0, 1, 400)
    ours = fit.interval(errors, 0.9, weights.astype(float))
    assert ours == pytest.approx(fit.interval(errors[times], 0.9), rel=0.02)


def test_an_estimator_that_takes_no_weights_is_refused() -> None:
    features = {"x": Column(type="number", description="x", role="feature")}
    neighbours = {"_target_": "sklearn.neighbors.KNeighborsClassifier"}
    model = estimator.pipeline(features, Preprocessing(categories="ordinal", numbers="as_is"), neighbours, BINARY)
    rows, target = {"x": np.arange(20, dtype=np.float32)}, np.arange(20) > 9
    with pytest.raises(
        ValueError, match="KNeighborsClassifier takes no weights, and the contract has a column of them"
    ):
        fit.fit(model, BINARY, rows, target, np.ones(20))
