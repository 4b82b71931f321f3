"""The experiments of DVC: what each changed, and what came of it."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kiban.core.errors import KibanError, one_line
from kiban.core.git import git, prefix
from kiban.core.paths import METRICS, PARAMS
from kiban.core.settings import changed, leaves

SPLITS = ("validation", "test")
LISTED = 6  # changes of one experiment
TARGET = "model._target_"


class Experiment(NamedTuple):
    """An experiment, or the commit `baseline` that it started from, which has no `changes`.

    `figures` are the metric on the validation and the test rows; None if it has none. `at` is an ISO time.
    """

    name: str
    revision: str
    at: str
    figures: tuple[float | None, ...]
    changes: list[str]
    is_baseline: bool


def experiments(commits: int, metric: str) -> list[Experiment]:
    """The experiments of the last `commits` commits that have some, newest first, each after its baseline.

    Raises KibanError if DVC cannot list them.
    """
    listing = subprocess.run(
        ["dvc", "exp", "show", "--json", "--num", str(commits)], capture_output=True, text=True, check=False
    )
    if listing.returncode:
        raise KibanError(f"`dvc exp show` failed: {one_line(listing.stderr)}")
    return [experiment for entry in json.loads(listing.stdout) for experiment in _of_commit(entry, metric)]


def _of_commit(entry: Mapping[str, Any], metric: str) -> Iterator[Experiment]:
    if not entry.get("experiments") or not entry.get("data"):
        return
    baseline = _settings(entry["data"])
    yield _experiment(entry["data"], entry.get("name") or entry["rev"][:7], metric, [], True)
    for experiment in entry["experiments"]:
        revision = experiment["revs"][0]
        name = experiment.get("name") or revision["rev"][:7]
        if revision.get("data") and not _is_of_a_sibling(entry["rev"], revision["rev"]):
            changes = list(_changes(baseline, _settings(revision["data"])))
            yield _experiment(revision["data"], name, metric, changes, False)


def _is_of_a_sibling(baseline: str, revision: str) -> bool:
    """Whether an experiment changed nothing in this folder of a repository: DVC lists those of every project in it."""
    return bool(prefix(Path())) and not git(Path(), "diff", "--name-only", baseline, revision, "--", ".")


def _experiment(data: Mapping[str, Any], name: str, metric: str, changes: list[str], is_baseline: bool) -> Experiment:
    metrics = data["metrics"].get(str(METRICS), {}).get("data") or {}
    figures = tuple(metrics.get(split, {}).get(metric) for split in SPLITS)
    return Experiment(name, data["rev"][:7], data["timestamp"], figures, changes, is_baseline)


def _settings(data: Mapping[str, Any]) -> dict[str, Any]:
    return data["params"].get(str(PARAMS), {}).get("data") or {}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The settings that differ, as text; a setting that is gone has a minus before it."""
    changes, present = changed(before, after), leaves(after)
    keys = list(changes)
    if TARGET in keys:  # of another estimator, the arguments of the old one are no news
        keys = [TARGET, *(key for key in keys if key in present and key != TARGET)]
    for key in keys[:LISTED]:
        _, value = changes[key]
        if key == TARGET:
            yield f"model {str(value).rpartition('.')[2]}"
        else:
            yield f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" if key in present else f"-{key}"
    if len(keys) > LISTED:
        yield f"and {len(keys) - LISTED} more"
    if not keys:
        yield "code or data"
