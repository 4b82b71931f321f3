"""A team's own table beside the flights: from the file to the answer with two commands, and back to the flights."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from clones import commit, run
from sklearn import datasets

WINE: pd.DataFrame = datasets.load_wine(as_frame=True).frame
CHECKED = ("config", "ingest", "validate_raw", "prepare", "validate_prepared")


def lock(folder: Path) -> dict[str, object]:
    stages: dict[str, object] = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {name: stages[name] for name in CHECKED}


@pytest.fixture(scope="module")
def own(small: Path) -> Path:
    """The slice of the flights, and wine.csv, initialised beside it and run."""
    WINE.assign(target=WINE.target.map({0: "barolo", 1: "grignolino", 2: "barbera"})).to_csv(
        small / "wine.csv", index_label="Unnamed: 0"
    )
    run(small, "kiban", "init", "wine.csv", "--target", "target", "--no-default")
    (small / "wine.csv").rename(small.parent / "wine.csv")  # nothing needs the file from now on
    return small


def test_a_dataset_is_one_switch_and_the_way_back_too(own: Path) -> None:
    run(own, "kiban", "compose", "dataset=flights")
    run(own, "dvc", "repro", "validate_prepared")
    commit(own, "the flights, with a table beside them")
    flights = lock(own)
    run(own, "kiban", "compose", "dataset=wine")
    run(own, "dvc", "repro")
    metrics = json.loads((own / "reports/metrics.json").read_text())
    assert metrics["test"]["roc_auc_ovr"] > 0.95
    status = run(own, "git", "status", "--porcelain")
    assert "data/raw/wine" not in status
    scored = run(own, "kiban", "score", str(own.parent / "wine.csv"), "scored.csv", "--any-model")
    assert "178 rows" in scored
    answers = pd.read_csv(own / "scored.csv")
    assert (answers.label == answers.target).mean() > 0.95
    run(own, "kiban", "compose", "dataset=flights")
    run(own, "dvc", "repro", "validate_prepared")
    assert lock(own) == flights


def test_a_clone_without_a_store_is_told_to_pull(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own, tmp_path / "clone", symlinks=True, ignore=shutil.ignore_patterns("cache", "raw", "prepared"))
    folder = tmp_path / "clone"
    run(folder, "kiban", "compose", "dataset=wine")
    said = run(folder, "dvc", "repro", "ingest", status=255)
    assert "batch 001-wine is of a file that was given, of which only the snapshot is kept: `dvc pull`" in said
