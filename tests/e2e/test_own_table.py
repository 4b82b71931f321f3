"""docs/your-data.md, command by command: a team's own table, its second file, and the way back to the flights."""

import importlib.util
import re
import shutil
from pathlib import Path

import pandas as pd
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
