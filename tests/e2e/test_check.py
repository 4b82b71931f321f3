"""`kiban check`: every configuration, and the whole graph on few rows."""

from pathlib import Path

import pytest
from clones import clone_to, commit, run


def with_default(folder: Path, dataset: str) -> None:
    config = folder / "conf/config.yaml"
    config.write_text(config.read_text().replace("dataset: flights", f"dataset: {dataset}"))
    run(folder, "kiban", "compose")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone without any data, whose source cannot be reached from here."""
    return clone_to(tmp_path_factory.mktemp("bare"))


def test_without_a_snapshot_the_graph_is_not_run_and_that_is_said(bare: Path) -> None:
    output = run(bare, "kiban", "check")
    assert "check: flights, penguins, seattle_weather, all_known, large_trees, none" in output
    assert "check: the graph was not run: data/raw/flights/" in output
    assert run(bare, "git", "status", "--porcelain") == ""


def complaint(bare: Path, file: str, before: str, after: str) -> str:
    """What the command says, in one line, of a file with another text in it."""
    path = bare / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    try:
        output = run(bare, "kiban", "check", status=1)
    finally:
        path.write_text(text)
    assert output.count("\n") == 1
    return output


@pytest.mark.long
def test_an_overlay_that_is_wrong_is_named(bare: Path) -> None:
    assert "max_leaves" in complaint(bare, "conf/experiment/large_trees.yaml", "max_leaf_nodes", "max_leaves")


@pytest.mark.long
def test_what_is_wrong_with_another_dataset_is_named(bare: Path) -> None:
    contract, dataset = "conf/contract/penguins/raw.yaml", "conf/dataset/seattle_weather.yaml"
    assert contract in complaint(bare, contract, "type: string", "type: text")
    assert "option package: Missing" in complaint(bare, dataset, "package:", "packet:")
    features = "timezone: UTC\n  features: no_such.py"
    assert "no_such.py" in complaint(bare, "conf/dataset/penguins.yaml", "timezone: UTC", features)


@pytest.mark.long
@pytest.mark.parametrize("dataset", ["flights", "penguins", "seattle_weather"])
def test_the_graph_runs_on_few_rows_and_changes_nothing(tmp_path: Path, dataset: str) -> None:
    (tmp_path / "clone").mkdir()
    folder = clone_to(tmp_path / "clone")
    if dataset != "flights":
        with_default(folder, dataset)
        commit(folder, dataset)
    run(folder, "dvc", "repro", "ingest")
    before = run(folder, "git", "status", "--porcelain")
    output = run(folder, "kiban", "check", MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert output.endswith("check: the graph runs on 1,000 rows\n")
    assert all(f"Running stage '{stage}'" in output for stage in ("ingest", "train", "evaluate", "track"))
    assert "is in sqlite" in output
    assert run(folder, "git", "status", "--porcelain") == before
    if dataset == "flights":
        features = folder / "src/kiban/features/flights.py"
        features.write_text(features.read_text().replace("def features(", "def attributes("))
        assert "error: the graph fails on few rows, see above" in run(folder, "kiban", "check", status=1)
