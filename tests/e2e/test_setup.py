"""What the repository promises before anything runs."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from clones import environment, run, with_installed
from servers import free_port_between, wait_for
from slice import ROOT

LOCKS = ["requirements.lock", "requirements.serve.lock"]


def test_make_alone_lists_the_tasks() -> None:
    listed = [line.split()[1] for line in run(ROOT, "make").splitlines()]
    assert {"repro", "test", "lint", "compose", "serve", "bento", "bench"} <= set(listed)


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_and_hash_everything_and_name_no_index(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"https?://|--index|--find-links|--extra", text)
    for requirement in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", requirement), requirement
        assert "--hash=sha256:" in requirement


def test_the_serving_lock_is_part_of_the_whole() -> None:
    whole, serve = (
        set(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in LOCKS
    )
    assert serve <= whole


def test_every_python_of_the_project_reports_no_usage(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").touch()  # as Debian's Python has one, which hides another
    code = (
        "import os; from great_expectations.core.config_provider import _ConfigurationProvider;"
        "from mlflow.telemetry.utils import is_telemetry_disabled;"
        "from bentoml._internal.utils.analytics.usage_stats import do_not_track;"
        "from dvc.analytics import is_enabled;"
        "print(is_telemetry_disabled(), do_not_track(), os.environ['GX_ANALYTICS_ENABLED'], is_enabled())"
    )
    where = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for name in (
        "DVC_NO_ANALYTICS",
        "MLFLOW_DISABLE_TELEMETRY",
        "BENTOML_DO_NOT_TRACK",
        "GX_ANALYTICS_ENABLED",
        "DO_NOT_TRACK",
    ):
        where.pop(name, None)
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/", env=where).stdout
    assert output.split() == ["True", "True", "false", "False"]
    config = run(ROOT, "dvc", "config", "--list", "--project")
    assert "core.analytics=false" in config
    assert "core.check_update=false" in config


def test_the_pages_of_the_runs_are_two_processes(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    with_installed(tmp_path)
    (tmp_path / "mlruns").mkdir()
    port = free_port_between(16000, 20000)
    with subprocess.Popen(
        ["make", "runs", f"RUNS_PORT={port}"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as make:
        processes = psutil.Process(make.pid)
        try:
            wait_for(port, 60)
            commands = [" ".join(each.cmdline()) for each in processes.children(recursive=True)]
            assert len([command for command in commands if "python" in command]) == 2
        finally:
            for each in [*processes.children(recursive=True), processes]:
                each.terminate()


LOAD = "from kiban.servable.load import load; load()"
SERVE = "import os; del os.environ['ORT_DISABLE_TELEMETRY']; import service"  # a Bento has no sitecustomize


@pytest.mark.parametrize("code", [LOAD, SERVE])
def test_onnxruntime_has_nothing_to_report(evaluated: Path, tmp_path: Path, code: str) -> None:
    """It would keep what it reports, and a device's id, in the home; where CI is set it never does."""
    where = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    where |= {"KIBAN_SERVABLE": str(evaluated / "models/servable"), "KIBAN_ANY_MODEL": "1"}
    subprocess.run([sys.executable, "-c", code], env=where, check=True, cwd=evaluated)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]


def test_the_readmes_figures_are_the_metrics() -> None:
    readme, report = (ROOT / "README.md").read_text(), json.loads((ROOT / "reports/evaluation.json").read_text())
    for metrics in (report["test"], *report["without"].values(), report["prior"]["test"]):
        figures = [metrics[name] for name in ("roc_auc", "average_precision", "brier", "mean_prediction")]
        assert " | ".join(f"{figure:.3f}".removeprefix("0") for figure in figures) in readme
    december = report["by_batch"]["2013-12"]
    predicted, was = (f"{december[name]:.3f}".removeprefix("0") for name in ("mean_prediction", "base_rate"))
    assert f"expects {predicted} of the flights late, where {was} were" in readme
    assert report["model_id"] in readme


def test_the_search_that_is_told_of_is_the_one_that_was_kept() -> None:
    told = (ROOT / "docs/experiments.md").read_text()
    report = json.loads((ROOT / "reports/evaluation.json").read_text())
    with (ROOT / "reports/tuning/hist_gradient_boosting.csv").open() as file:
        trials = list(csv.DictReader(file))
    default = next(trial for trial in trials if trial["trial"] == "0")
    figures = [f"{report[split]['roc_auc']:.4f} ({report[split]['brier']:.4f})" for split in ("validation", "test")]
    row = " | ".join([f"{float(default['roc_auc']):.4f}", *figures]).replace("0.", ".")
    assert f"| default | {row} |" in told
    assert f"| tuned | {float(trials[0]['roc_auc']):.4f} |".replace("0.", ".") in told
    assert f"in {len(trials)} trials" in told
    params = yaml.safe_load((ROOT / "params.yaml").read_text())["model"]
    of_default = {name: value for name, value in default.items() if name.startswith("model.")}
    assert {name: float(value) for name, value in of_default.items()} == {
        name: params[name.removeprefix("model.")] for name in of_default
    }
    overlay = yaml.safe_load((ROOT / "conf/experiment/tuned_hist_gradient_boosting.yaml").read_text())["model"]
    assert {f"model.{name}": value for name, value in overlay.items()} == {
        name: float(value) for name, value in trials[0].items() if name.startswith("model.")
    }
