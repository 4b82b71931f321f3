"""docs/your-data.md, command by command: a team's own table, its second file, and the way back to the flights."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml
from clones import commit, run
from slice import ROOT

PAGE = (ROOT / "docs/your-data.md").read_text()
CHECKED = ("config", "ingest", "validate_raw", "prepare", "validate_prepared")


def told(block: int) -> dict[str, list[str]]:
    """The commands of a console block of the page, with the lines that they are said to print."""
    text = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)[block]
    parts = [part.splitlines() for part in re.split(r"(?m)^\$ ", text)[1:]]
    return {command: lines for command, *lines in parts}


def follow(folder: Path, block: int) -> None:
    """Run the commands of a block: each prints the lines that the page says, among others."""
    for command, lines in told(block).items():
        printed = [line.strip() for line in run(folder, *command.split()).splitlines()]
        for line in lines:
            assert line.strip() in printed, "\n".join(printed)


def lock(folder: Path) -> dict[str, object]:
    stages: dict[str, object] = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {name: stages[name] for name in CHECKED}


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def own(small: Path) -> Path:
    """The slice of the flights, with the two files of the page."""
    spec = importlib.util.find_spec("palmerpenguins")
    assert spec is not None
    assert spec.submodule_search_locations
    text = (Path(spec.submodule_search_locations[0]) / "data/penguins.csv").read_text()
    lines = text.splitlines()
    (small / "nests-2009.csv").write_text(text)
    (small / "nests-2008.csv").write_text("\n".join(line for line in lines if not line.endswith("2009")) + "\n")
    return small


def test_the_page_is_right_and_a_dataset_is_one_switch(own: Path) -> None:
    follow(own, 0)
    config = own / "conf/config.yaml"
    run(own, "kiban", "compose", "dataset=flights")
    run(own, "dvc", "repro", "validate_prepared")
    flights = lock(own)
    run(own, "kiban", "compose")
    assert "dataset: nests" in config.read_text()
    (own / "nests-2008.csv").unlink()  # nothing needs it from now on
    follow(own, 1)
    assert "data/raw/nests" not in run(own, "git", "status", "--porcelain")
    commit(own, "nests")
    follow(own, 2)
    scored = run(own, "kiban", "score", "nests-2009.csv", "scored.csv", "--any-model")
    assert "344 rows" in scored
    answers = pd.read_csv(own / "scored.csv")
    assert (answers.label == answers.species).mean() > 0.95
    run(own, "kiban", "compose", "dataset=flights")
    run(own, "dvc", "repro", "validate_prepared")
    assert lock(own) == flights


def test_a_clone_without_a_store_is_told_to_pull(own: Path, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("cache", "raw", "prepared")
    shutil.copytree(own, tmp_path / "clone", symlinks=True, ignore=ignored)
    run(tmp_path / "clone", "kiban", "compose")
    said = run(tmp_path / "clone", "dvc", "repro", "ingest", status=255)
    assert "batch 001-nests is of a file that was given, of which only the snapshot is kept: `dvc pull`" in said


BILLS = '''"""The penguins, with the shape of their bill."""

ROWS_OF = None
LOOKBACK_DAYS = 0


def features(tables):
    (table,) = tables.values()
    return table.mutate(bill_shape=table.bill_length_mm / table.bill_depth_mm)
'''
KEY = {"type": "string", "description": "Hash of the row"}
SHAPE = {"type": "number", "role": "feature", "nullable": True, "description": "Length of the bill by its depth"}


def test_a_function_of_features_serves_a_table_without_a_time(own: Path) -> None:
    run(own, "kiban", "init", "nests-2009.csv", "--target", "species", "--name", "bills", "--missing", "NA")
    (own / "src/kiban/features/bills.py").write_text(BILLS)
    contracts = own / "conf/contract/bills"
    (table,) = yaml.safe_load((contracts / "raw.yaml").read_text()).values()
    table |= {"key": ["row_hash"], "columns": {"row_hash": KEY, **table["columns"], "bill_shape": SHAPE}}
    (contracts / "prepared.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    dataset = own / "conf/dataset/bills.yaml"
    dataset.write_text(dataset.read_text().replace("  name: bills", "  name: bills\n  features: bills.py"))
    run(own, "kiban", "compose")
    run(own, "dvc", "repro", "train")
    rows = pq.read_table(own / "data/prepared/bills/001-bills.parquet").slice(0, 5)
    raw = pq.read_table(own / "data/raw/bills/bills/001-bills.parquet")
    asked = raw.filter(pc.is_in(raw["row_hash"], rows["row_hash"].combine_chunks()))
    pyarrow.csv.write_csv(asked.drop_columns("species"), own / "asked.csv")
    said = run(own, "env", "PYTHONPATH=src", "kiban", "features", "--for", "asked.csv")  # of this clone
    records = json.loads(said)["records"]
    assert [record["bill_shape"] for record in records] == pytest.approx(rows["bill_shape"].to_pylist())
    run(own, "kiban", "compose", "dataset=flights")
