"""The two small examples, from their file to the answer: tables without time, of three classes and of a number."""

import csv
import importlib.util
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from http_cases import client_of
from slice import ROOT, STAGES, run_stage, take_new

from kiban.cli import commands
from kiban.config.composition import composed
from kiban.core import paths
from kiban.core.settings import Sections, read
from kiban.data import prepared
from kiban.data.split import SPLITS, Split, resolved
from kiban.evaluate.settings import Gate
from kiban.ingest import ledger
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


EXAMPLES = {"penguins": "log_loss", "seattle_weather": "rmse"}
"""A metric of each."""


@pytest.fixture(params=EXAMPLES)
def name(request: pytest.FixtureRequest, project: Path) -> str:
    """The project with the example as its dataset, after all stages."""
    name: str = request.param
    Path("params.yaml").write_bytes(composed(Path(), [f"dataset={name}"]))
    take_new()
    for stage in STAGES:
        run_stage(stage)
    return name


def test_the_ledger_is_that_of_the_package(name: str) -> None:
    taken, committed = (ledger.read(folder / paths.ledger(name))[name]["static"] for folder in (Path(), ROOT))
    assert taken.sha256 == committed.sha256


def test_a_table_without_time_is_trained_measured_and_served(name: str) -> None:
    servable = load()
    assert servable.manifest.format == "onnx"
    evaluation = Evaluation.model_validate_json(paths.EVALUATION.read_bytes())
    assert all(figures["skill"] > 0.2 for figures in evaluation.splits.values())  # type: ignore[operator]
    assert evaluation.gate.passed
    assert list(evaluation.by_batch) == ["static"]
    rows = pq.read_table(f"data/prepared/{name}/static.parquet")
    features = servable.contract.features()
    record = {feature: text_of(value) for feature, value in rows.select(list(features)).to_pylist()[0].items()}
    nothing = {feature: None if column.nullable else record[feature] for feature, column in features.items()}
    served = Served(servable, read(Params).serving, paths.EVALUATION)
    answer = client_of(served).post("/predict", json={"records": [record, nothing]})
    assert answer.status_code == 200, answer.text
    first = answer.json()["predictions"][0]
    assert first["label"] == rows["species"][0].as_py() if name == "penguins" else first["low"] < first["high"]
    file = source_file(name)
    scored = CliRunner().invoke(commands, ["score", str(file), "out.csv", "--any-model"], catch_exceptions=False)
    assert f"score: {rows.num_rows:,} rows" in scored.output
    answers = client_of(served).post("/invocations", content=first_lines(file, 6), headers={"content-type": "text/csv"})
    assert answers.status_code == 200, answers.text
    with Path("out.csv").open() as lines:
        scores = list(csv.DictReader(lines))
    name_of_number = "value" if name == "seattle_weather" else "probability.Gentoo"
    place = 0 if name == "seattle_weather" else 3
    for line, row in zip(answers.text.splitlines(), scores, strict=False):
        assert float(line.split(",")[place]) == pytest.approx(float(row[name_of_number]))


def test_a_row_stays_in_its_split_when_others_are_added(name: str) -> None:
    split, key = resolved(read(Params).split, []), load().contract.key
    rows = pq.read_table(f"data/prepared/{name}/static.parquet")
    fewer = rows.slice(0, rows.num_rows // 2)
    sizes = {}
    for each in SPLITS:
        whole = set(split.parts("static", rows, key)[each][key[0]].to_pylist())
        assert set(split.parts("static", fewer, key)[each][key[0]].to_pylist()) == whole & set(
            fewer[key[0]].to_pylist()
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
    split = resolved(read(Params).split, [])
    folds = search.folds(split, list(prepared.accepted()), 3)
    assert [fold.name for fold in folds] == ["part 1", "part 2", "part 3"]
    scores = search.cross_validate(load_params(), name, folds, EXAMPLES[name], {})
    assert len(set(scores)) == 3
    assert np.isfinite(scores).all()


def source_file(name: str) -> Path:
    """The file of the package that the example comes from."""
    options = load_params()["dataset"]["tables"][name]["source"]["options"]
    spec = importlib.util.find_spec(options["package"])
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / options["file"]


def first_lines(file: Path, count: int) -> str:
    return "".join(file.read_text().splitlines(keepends=True)[:count])


def text_of(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def load_params() -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_bytes())
    return params
