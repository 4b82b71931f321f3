"""What a team's pull request is checked by: every configuration composes, and the whole graph runs on few rows."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from kiban.config.composition import composed
from kiban.config.params import Params, check_has_data
from kiban.core import files, paths, store
from kiban.core.errors import KibanError
from kiban.core.git import git
from kiban.core.settings import load, parse, yaml_of
from kiban.data import contract, parquet
from kiban.ingest import ledger
from kiban.ingest.ledger import Entry
from kiban.prepare import features
from kiban.sources.kinds import open_source
from kiban.sources.settings import Dataset
from kiban.train import estimator
from kiban.validate.settings import Checks

FEWEST = 20
"""Rows that a batch keeps, so that a split of one batch has some of each kind."""
ROW_BY_ROW = re.compile("expect_(column_values|column_pair_values|multicolumn|compound_columns|select_column_values)_")
"""Expectations that hold of the rows of a part if they hold of the whole, unless they ask it of a share of the rows."""


def check_configurations() -> list[str]:
    """Check every dataset, and every overlay for the default one: settings, contracts and sources; return their names.

    Raises KibanError, which names the first that is wrong. No source is reached.
    """
    default = _checked([]).name
    datasets = {path.stem for path in (paths.CONF / "dataset").glob("*.yaml")} - {"none"}
    checked = [default]
    for name in sorted(datasets - {default}):
        _checked([f"dataset={name}", "experiment=none"])
        checked.append(name)
    for path in sorted(paths.EXPERIMENTS.glob("*.yaml")):
        content = composed(Path(), [f"experiment={path.stem}"])
        params = _params(content, f"the overlay {path}")
        if params.applies_to.dataset in (None, default):
            checked.append(path.stem)
    return checked


def _checked(overrides: list[str]) -> Dataset:
    dataset = _params(composed(Path(), overrides), "conf/").dataset
    check_has_data(dataset.tables)
    raw = contract.read_raw(paths.raw_contract(dataset.name))
    features.load(dataset.features, raw)
    for settings in dataset.tables.values():
        open_source(settings.source)
    return dataset


def _params(content: bytes, where: str) -> Params:
    params = parse(content, TypeAdapter(Params), where, "correct it under conf/")
    estimator.check(params.model)
    return params


def run_on_few(rows: int, patience: float) -> str | None:
    """Run the graph in a folder of its own, on about `rows` rows of the table that has a row for each prepared one.

    The other raw tables are whole: what a row is joined with is there. Nothing here is changed, and no run is tracked
    elsewhere. Returns why the graph was not run, if a snapshot cannot be had; raises KibanError if a stage fails.
    """
    dataset = _checked([])
    recorded = ledger.read(paths.ledger(dataset.name))
    table = features.load(dataset.features, contract.read_raw(paths.raw_contract(dataset.name))).rows_of
    if not sum(entry.rows for entry in recorded.get(table, {}).values()):
        return f"{paths.ledger(dataset.name)} has no row of {table} yet"
    with tempfile.TemporaryDirectory(prefix="kiban-check-") as name:
        folder = Path(name)
        _copy_project(folder)
        snapshots = {
            paths.raw_file(dataset.name, each, batch): entry
            for each, entries in recorded.items()
            for batch, entry in entries.items()
        }
        if reason := _lay(snapshots, folder, patience):
            return reason
        share = min(1.0, rows / sum(entry.rows for entry in recorded[table].values()))
        for batch, entry in recorded[table].items():
            path = folder / paths.raw_file(dataset.name, table, batch)
            recorded[table][batch] = _cut(path, max(FEWEST, round(entry.rows * share)), entry)
        ledger.write(folder / paths.ledger(dataset.name), recorded)
        for path in (paths.raw_contract(dataset.name), paths.prepared_contract(dataset.name)):
            _ask_row_by_row(folder / path)
        with contextlib.chdir(folder):  # the digest of conf/ is that of the working directory
            files.write(paths.PARAMS, composed(Path(), list(_for_a_part(share))))
        _run(folder)
    return None


def _copy_project(folder: Path) -> None:
    """Every file that git has, or would, but for results; a project of DVC without git and without a remote."""
    listing = git(Path(), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".").split("\0")
    for name in listing:
        if name and name != str(paths.LOCK) and Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, folder / name)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n    site_cache_dir = .dvc/site\n")


def _lay(snapshots: Mapping[Path, Entry], folder: Path, patience: float) -> str | None:
    """Lay the snapshots into `folder`, from here, or from DVC's cache or store; return why one cannot be had."""
    absent = {}
    for path, entry in snapshots.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if files.is_file(path, entry.sha256):
            shutil.copyfile(path, folder / path)
        elif entry.md5:
            absent[folder / path] = entry.md5
    problem = store.restored(absent, patience) if absent else None
    for path, entry in snapshots.items():
        if not files.is_file(folder / path, entry.sha256):
            return f"{path} is not here" + (f": {problem}" if problem else "")
    return None


def _cut(path: Path, rows: int, entry: Entry) -> Entry:
    """Keep rows of a snapshot that lie evenly, and return its entry of the ledger."""
    everything = parquet.read(path)
    kept = min(rows, everything.num_rows)
    parquet.write(everything.take([index * everything.num_rows // kept for index in range(kept)]), path)
    return ledger.entry_of(path, kept, entry.source)


def _ask_row_by_row(path: Path) -> None:
    """Leave out the expectations of a contract that are of a whole batch, of which there is only a part here."""
    if not path.exists():
        return
    tables: dict[str, Any] = yaml_of(path.read_bytes(), str(path), "correct it")
    for table in [tables, *tables.values()]:
        if isinstance(table, dict) and isinstance(table.get("expectations"), list):
            table["expectations"] = [
                each
                for each in table["expectations"]
                if ROW_BY_ROW.match(each["type"]) and "mostly" not in each.get("kwargs", {})
            ]
    path.write_text(yaml.safe_dump(tables, sort_keys=False))


def _for_a_part(share: float) -> Iterator[str]:
    """Overrides for a share of the rows: it is not like the whole of earlier batches, and its leaves are smaller."""
    for name in Checks.model_fields:
        yield f"validation.history.checks.{name}=ignore"
    leaf = load(composed(Path(), [])).get("model", {}).get("min_samples_leaf")
    if isinstance(leaf, int) and leaf > 1:
        yield f"model.min_samples_leaf={max(1, round(leaf * share))}"


def _run(folder: Path) -> None:
    environment: dict[str, Any] = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DVC_") and name not in ("MLFLOW_TRACKING_URI", "PYTHONPATH")
    }
    if subprocess.run(["dvc", "repro"], cwd=folder, env=environment, check=False).returncode:
        raise KibanError("the graph fails on few rows, see above")
