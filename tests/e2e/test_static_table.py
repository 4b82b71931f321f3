"""A small table without time or batches, from a CSV file to the answer: three classes, and a number."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from http_cases import client_of
from sklearn import datasets
from slice import STAGES, run_stage, take_new

from kiban.cli import commands
from kiban.config.composition import composed
from kiban.core import paths
from kiban.core.settings import Sections, read
from kiban.data import prepared
from kiban.data.split import SPLITS, Split
from kiban.evaluate.settings import Gate
from kiban.review import comparison
from kiban.servable.evaluation import Evaluation
from kiban.servable.load import load
from kiban.serve.model import Served
from kiban.serve.settings import Serving
from kiban.tune import search


class Params(Sections):
    serving: Serving
    split: Split
    gate: Gate


class Case(NamedTuple):
    """A table of scikit-learn's, its target column, and the model of it."""

    load: Any
    target: dict[str, Any]
    model: str
    metric: str


TASKS = {"wine": "multiclass", "diabetes": "regression"}
CASES = {
    "wine": Case(
        datasets.load_wine,
        {"type": "string", "levels": ["barolo", "grignolino", "barbera"]},
        "sklearn.linear_model.LogisticRegression",
        "log_loss",
    ),
    "diabetes": Case(datasets.load_diabetes, {"type": "number"}, "sklearn.linear_model.Ridge", "rmse"),
}


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest, project: Path) -> str:
    """The project with the table as its dataset, after all stages."""
    name, case = request.param, CASES[request.param]
    frame: pd.DataFrame = case.load(as_frame=True).frame.rename_axis("sample").reset_index()
    if "levels" in case.target:
        frame["target"] = frame["target"].map(dict(enumerate(case.target["levels"])))
    frame.to_csv(f"{name}.csv", index=False)
    columns: dict[str, Any] = {
        column: {"type": "number", "role": "feature", "nullable": True, "description": column}
        for column in frame.columns
    }
    columns["sample"] = {"type": "integer", "description": "Number of the row"}
    columns["target"] = {"role": "target", "description": "What is predicted", **case.target}
    table = {"description": "A sample", "key": ["sample"], "columns": columns}
    groups = {"split": "by_row", "model": "logistic", "missing": "none", "plots": TASKS[name], "gate": "flights"}
    source = {"_target_": "kiban.sources.Files", "options": {"path": f"{name}.csv"}}
    files = {
        f"conf/contract/{name}/raw.yaml": {"samples": table},
        f"conf/dataset/{name}.yaml": {
            "defaults": [{f"override /{group}": option} for group, option in groups.items()],
            "dataset": {"name": name, "timezone": "UTC", "tables": {"samples": {"source": source}}},
        },
    }
    for path, content in files.items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("# @package _global_\n" + yaml.safe_dump(content, sort_keys=False))
    overrides = [f"dataset={name}", "gate.cluster=row"]
    gate = [f"gate.metric={case.metric}", "gate.threshold=1000"]
    model = [f"model._target_={case.model}", *(["~model.C"] if "Ridge" in case.model else [])]
    Path("params.yaml").write_bytes(composed(Path(), [*overrides, *gate, *model]))
    take_new()
    for stage in STAGES:
        run_stage(stage)
    return name


def test_a_table_without_time_is_trained_measured_and_served(name: str) -> None:
    servable = load()
    assert servable.manifest.format == "onnx"
    evaluation = Evaluation.model_validate_json(paths.EVALUATION.read_bytes())
    assert all(figures["skill"] > 0.2 for figures in evaluation.splits.values())  # type: ignore[operator]
    assert evaluation.gate.passed
    assert list(evaluation.by_batch) == ["static"]
    rows = pq.read_table(f"data/prepared/{name}/static.parquet")
    features = list(servable.contract.features())
    record = rows.select(features).to_pylist()[0]
    answer = client_of(Served(servable, read(Params).serving, paths.EVALUATION)).post(
        "/predict", json={"records": [record, dict.fromkeys(features)]}
    )
    assert answer.status_code == 200, answer.text
    first = answer.json()["predictions"][0]
    assert first["label"] == rows["target"][0].as_py() if name == "wine" else first["low"] < first["high"]
    scored = CliRunner().invoke(commands, ["score", f"{name}.csv", "out.csv", "--any-model"], catch_exceptions=False)
    assert f"score: {rows.num_rows} rows" in scored.output


def test_a_row_stays_in_its_split_when_others_are_added(name: str) -> None:
    split = read(Params).split
    rows = pq.read_table(f"data/prepared/{name}/static.parquet")
    fewer = rows.slice(0, rows.num_rows // 2)
    sizes = {}
    for each in SPLITS:
        whole = set(split.parts("static", rows, ["sample"])[each]["sample"].to_pylist())
        assert set(split.parts("static", fewer, ["sample"])[each]["sample"].to_pylist()) == whole & set(
            fewer["sample"].to_pylist()
        )
        sizes[each] = len(whole)
    assert sum(sizes.values()) == rows.num_rows
    assert sizes["train"] == pytest.approx(0.7 * rows.num_rows, rel=0.2)


def test_each_row_is_a_cluster_and_months_are_not_asked_for(name: str) -> None:
    predictions = pq.read_table(paths.PREDICTIONS).replace_schema_metadata(None)
    gate = read(Params).gate
    scores = comparison.measured(comparison.paired(predictions, predictions, "test"), gate, load().contract, "UTC")
    assert scores.clusters == scores.rows > 10
    assert scores.months == {}


def test_a_search_scores_parts_of_the_training_rows(name: str) -> None:
    split = read(Params).split
    folds = search.folds(split, list(prepared.accepted()), 3)
    assert [fold.name for fold in folds] == ["part 1", "part 2", "part 3"]
    scores = search.cross_validate(load_params(), name, folds, CASES[name].metric, {})
    assert len(set(scores)) == 3
    assert np.isfinite(scores).all()


def load_params() -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_bytes())
    return params
