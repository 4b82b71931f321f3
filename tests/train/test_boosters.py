"""LightGBM and XGBoost: what is served answers as they do, or train refuses; cores do not change their bytes."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from clones import environment
from slice import ROOT, compose_here, prepared_rows

from kiban.core.errors import KibanError
from kiban.core.paths import METRICS, MODEL
from kiban.data import contract
from kiban.servable import columns, skops_file
from kiban.servable.columns import Columns
from kiban.servable.load import load
from kiban.tasks.task import TASKS, Name
from kiban.train import boosters, estimator, export, fit
from kiban.train.settings import Preprocessing

FOLDER = ROOT / ".venv/estimators"
SPARK = ROOT / ".venv/spark"
TABLE = contract.read_prepared(ROOT / "conf/contract/flights/prepared.yaml").columns
TARGETS: dict[Name, str] = {"binary": "late", "multiclass": "origin", "regression": "distance"}
INPUTS = ["dest", "carrier", "departure_minute", "weather_wind_speed", "weather_visibility"]
AS_IS = Preprocessing(categories="ordinal", numbers="as_is")
FEW = {"n_estimators": 20, "random_state": 0, "n_jobs": 2}
QUIET = {"deterministic": True, "force_row_wise": True, "verbose": -1}
CASES: list[tuple[Name, dict[str, Any]]] = [
    ("binary", {"_target_": "lightgbm.LGBMClassifier", **FEW, **QUIET}),
    ("multiclass", {"_target_": "lightgbm.LGBMClassifier", **FEW, **QUIET}),
    ("regression", {"_target_": "lightgbm.LGBMRegressor", **FEW, **QUIET}),
    ("regression", {"_target_": "lightgbm.LGBMRegressor", "objective": "poisson", **FEW, **QUIET}),
    ("binary", {"_target_": "xgboost.XGBClassifier", **FEW}),
    ("multiclass", {"_target_": "xgboost.XGBClassifier", **FEW}),
    ("regression", {"_target_": "xgboost.XGBRegressor", **FEW}),
]
long = pytest.mark.long


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    if not FOLDER.is_dir():
        pytest.skip("the boosters are not installed: make .venv/estimators/installed")
    monkeypatch.syspath_prepend(FOLDER)


def rows_of(task: Name, batch: str) -> tuple[Columns, Any]:
    rows = prepared_rows(batch)
    target = TABLE[TARGETS[task]].model_copy(update={"role": "target"})
    features = {name: TABLE[name] for name in INPUTS}
    return columns.from_arrow(rows, features), columns.target_from_arrow(rows[TARGETS[task]], target)


def fitted(task: Name, model: dict[str, Any], rows: Columns, target: Any) -> Any:
    pipeline = estimator.pipeline({name: TABLE[name] for name in INPUTS}, AS_IS, model, TASKS[task])
    fit.fit(pipeline, TASKS[task], rows, target)
    return pipeline


@long
@pytest.mark.parametrize(("task", "model"), CASES, ids=lambda value: str(value)[:60])
def test_onnx_answers_as_the_booster_on_other_rows(
    project: Path, installed: None, task: Name, model: dict[str, Any]
) -> None:
    pipeline = fitted(task, model, *rows_of(task, "2013-01"))
    features, limit = {name: TABLE[name] for name in INPUTS}, 0.3 if task == "binary" else None
    exported = export.as_onnx(pipeline, features, task, rows_of(task, "2013-02")[0], limit)
    assert exported is not None
    assert exported.parity.rows > 5000
    content = skops_file.dumps(pipeline)
    skops_file.loads(content, "models/model.skops", skops_file.TRAINED)
    with pytest.raises(KibanError, match="holds types that are not trusted"):  # as a servable
        skops_file.loads(content, "the servable")


@long
def test_thresholds_between_numbers_of_single_precision_are_rounded_down(
    project: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole numbers above 2**24, of which single precision has every second one, or every fourth."""
    rows, target = rows_of("binary", "2013-01")
    order = np.argsort(rows["departure_minute"], kind="stable")
    large = np.empty(len(order), np.float32)
    large[order] = 2**24 + 2 * np.arange(len(order))
    rows["departure_minute"] = large
    pipeline = fitted("binary", {**CASES[0][1], "n_estimators": 100, "min_child_samples": 2}, rows, target)
    features = {name: TABLE[name] for name in INPUTS}
    assert export.as_onnx(pipeline, features, "binary", rows, 0.3) is not None
    monkeypatch.setattr(boosters, "down", lambda value: float(np.float32(value)))
    with pytest.raises(KibanError, match="ONNX does not agree with the model, which is served by nothing else"):
        export.as_onnx(pipeline, features, "binary", rows, 0.3)


@long
@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_what_is_shipped_trains_is_served_as_onnx_and_has_the_same_bytes_with_other_threads(
    project: Path, installed: None, name: str
) -> None:
    small = ["model.min_child_samples=50"] if name == "lightgbm" else ["model.min_child_weight=10"]
    compose_here(f"model={name}", "model.n_estimators=20", *small)
    found = set()
    for threads in ("1", "2"):
        path = f"{FOLDER}:{ROOT / 'src'}"
        given = environment(PYTHONPATH=path, OMP_NUM_THREADS=threads, PYTHONHASHSEED="0")
        shutil.rmtree(".kiban_cache", ignore_errors=True)
        done = subprocess.run([sys.executable, "-m", "kiban.train"], env=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "served as onnx" in done.stdout
        found.add((hashlib.sha256(MODEL.read_bytes()).hexdigest(), load().model_id))
    assert len(found) == 1


@long
def test_xgboost_learns_from_all_rows_on_disk_or_on_spark_while_a_sample_is_in_memory(
    project: Path, installed: None
) -> None:
    small = ["model.n_estimators=60", "model.min_child_weight=10"]
    ways = ["xgboost", "xgboost_on_disk", "xgboost_on_disk", *(["xgboost_on_spark"] if SPARK.is_dir() else [])]
    found, aucs = set(), {}
    for model in ways:
        sample = "null" if model == "xgboost" else "0.2"
        compose_here(f"model={model}", f"sample={sample}", *small)
        shutil.rmtree(".kiban_cache", ignore_errors=True)
        given = environment(PYTHONPATH=f"{FOLDER}:{SPARK}:{ROOT / 'src'}", PYTHONHASHSEED="0", KIBAN_SPARK="local[2]")
        for stage in ("train", "evaluate"):
            done = subprocess.run([sys.executable, "-m", f"kiban.{stage}"], env=given, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        aucs[model] = json.loads(METRICS.read_text())["test"]["roc_auc"]
        assert load().manifest.format == "onnx"
        if model == "xgboost_on_disk":
            found.add((hashlib.sha256(MODEL.read_bytes()).hexdigest(), load().model_id))
    assert len(found) == 1
    assert all(auc == pytest.approx(aucs["xgboost"], abs=0.015) for auc in aucs.values()), aucs


@pytest.mark.parametrize("model", [CASES[0][1], CASES[4][1]])
def test_a_package_that_is_absent_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, model: dict[str, Any]
) -> None:
    package = model["_target_"].partition(".")[0]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(KibanError, match=f"{package} is not installed: `make extra EXTRA={package}`"):
        estimator.check(model)


@long
@pytest.mark.parametrize("model", [CASES[0][1], CASES[4][1]])
def test_a_misspelt_argument_is_named(installed: None, model: dict[str, Any]) -> None:
    estimator.check(model)
    with pytest.raises(KibanError, match=r"model\.n_estimatorss: \w+ has no such argument"):
        estimator.check({**model, "n_estimatorss": 5})


def test_other_estimators_of_these_packages_are_refused() -> None:
    with pytest.raises(KibanError, match=r"'lightgbm\.Booster' does not start with sklearn\., nor is it lightgbm"):
        estimator.check({"_target_": "lightgbm.Booster"})


def test_both_are_in_conf_with_settings_that_fix_their_bytes() -> None:
    for name in ("lightgbm", "xgboost"):
        assert yaml.safe_load((ROOT / f"conf/model/{name}.yaml").read_text())["model"]["n_jobs"] == 2
