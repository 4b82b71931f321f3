"""The weather of Seattle by month: a small real table that grows, with a feed of its own."""

import csv
import importlib.util
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from clones import commit, copy_to, run


def months() -> dict[str, list[list[str]]]:
    """The weather of Seattle by month, header first."""
    spec = importlib.util.find_spec("vega_datasets")
    assert spec is not None
    assert spec.submodule_search_locations
    header, *rows = csv.reader((Path(spec.submodule_search_locations[0]) / "_data/seattle-weather.csv").open())
    by_month: dict[str, list[list[str]]] = defaultdict(lambda: [header])
    for day, *others in rows:
        iso = day.replace("/", "-")
        by_month[iso[:7]].append([iso, *others])
    return by_month


def lay(feed: Path, *names: str, change: Callable[[list[str]], list[str]] = lambda row: row) -> None:
    """What the feed has of these months from now on."""
    known = months()
    for name in names:
        header, *rows = known[name]
        with (feed / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *map(change, rows)])


@pytest.fixture(scope="session")
def weather(once: Callable[..., Path]) -> Path:
    """A repository with the first half year of the weather, and the model of it. Not to be changed."""

    def fill(folder: Path) -> None:
        run(copy_to(folder / "ours"), "git", "init", "-q", "-b", "main")
        (folder / "feed").mkdir()
        lay(folder / "feed", *(f"2012-{month:02d}" for month in range(1, 7)))
        ours = folder / "ours"
        run(ours, "kiban", "init", "../feed", "--target", "temp_max", "--name", "weather", "--time", "date")
        dataset = ours / "conf/dataset/weather.yaml"
        text = dataset.read_text().replace("split: weather", "split: by_newest")
        path = str(folder / "feed/{batch}.csv")
        source = f"        _target_: kiban.sources.Files\n        options: {{path: '{path}'}}\n"
        dataset.write_text(text.replace("        _target_: kiban.sources.Given\n", source))
        run(ours, "kiban", "compose")
        run(ours, "dvc", "repro")
        commit(ours, "the weather")

    return once("weather", fill)


def with_feed(weather: Path, folder: Path) -> Path:
    """A copy of the repository in `folder` with a feed of its own, beside it, from which nothing is taken yet."""
    shutil.copytree(weather, folder, symlinks=True)
    dataset = folder / "ours/conf/dataset/weather.yaml"
    dataset.write_text(dataset.read_text().replace(str(weather / "feed"), str(folder / "feed")))
    run(folder / "ours", "kiban", "compose")
    commit(folder / "ours", "a feed of its own")
    return folder / "ours"


@pytest.fixture
def moved(weather: Path, tmp_path: Path) -> Path:
    """The repository with a feed of its own."""
    return with_feed(weather, tmp_path / "own")


@pytest.fixture
def feed(moved: Path) -> Path:
    return moved.parent / "feed"


@pytest.fixture
def origin(moved: Path, tmp_path: Path) -> Path:
    """The bare repository of the weather, with all of June in its store."""
    run(moved, "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    run(moved, "git", "commit", "-q", "-a", "-m", "a store")
    run(moved, "kiban", "push")
    run(tmp_path, "git", "clone", "-q", "--bare", str(moved), "origin.git")
    return tmp_path / "origin.git"


def check_same_bytes(ours: Path, origin: Path, branch: str) -> None:
    """That `dvc repro`, on one machine, gives all bytes that git keeps of a branch, from its batches."""
    run(ours, "git", "fetch", "-q", str(origin), branch)
    run(ours, "git", "checkout", "-q", "FETCH_HEAD", "--", "data/weather.batches.yaml")  # it has the time of the taking
    run(ours, "dvc", "repro")
    run(ours, "git", "add", "--all")
    assert run(ours, "git", "diff", "--cached", "--stat", "FETCH_HEAD") == ""
