"""What `kiban init` finds of what was planted in real tables, and what it leaves out of their honest columns.

Twenty plantings of each kind, over the fifteen tables of benchmarks/real_tables.py. Their columns were called honest
before the run, but for identifiers, row numbers, constants and names, which OWN_FAULTS lists. The last rows are what no
threshold finds, and are told apart.

    make bench-tables
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from real_tables import ORIGINS, table
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kiban.profile.roles import uses
from kiban.profile.table import typed
from kiban.profile.types import Options
from kiban.tasks.task import Name

TIMES = 20
OWN_FAULTS = {
    "titanic": ["name"],
    "mortgages": ["msa"],
    "affairs": ["id"],
    "classes of cars": ["Unnamed: 0"],
    "fuel": ["name"],
    "orders": ["Country"],
}
"""Columns of the tables that are none of use: names, identifiers, a row number, constants."""

Random = np.random.Generator
Values = npt.NDArray[Any]
Plant = Callable[[Values, Name, Random], Any]


def tables() -> dict[str, tuple[pd.DataFrame, str, Name]]:
    """The fifteen tables with their target and task, whose other columns are honest, but for those of OWN_FAULTS."""
    return {
        name: (real.frame.drop(columns=OWN_FAULTS.get(name, [])), real.target, real.task)
        for name, real in ((name, table(name)) for name in ORIGINS)
    }


def is_number(task: Name) -> bool:
    return task == "regression"


def noisy(target: Values, task: Name, random: Random) -> Values:
    """The target with noise of 1 % of its deviation."""
    return target + 0.01 * target.std() * random.standard_normal(len(target))


def missing_unless(target: Values, task: Name, random: Random) -> Values:
    """A number that is there for one class alone, or for the greater half."""
    present = target > np.median(target) if is_number(task) else target == target.max()
    return np.where(present, target * 3.0 if is_number(task) else random.random(len(target)), np.nan)


FOUND: dict[str, tuple[Plant, str]] = {
    "leak: exact": (lambda target, task, random: target.copy(), "any"),
    "leak: recoded": (
        lambda target, task, random: np.array(["x", "q", "m", "b", "k"])[target.astype(int) % 5],
        "classes",
    ),
    "leak: rescaled": (lambda target, task, random: target * random.uniform(1.1, 9) + random.uniform(-50, 50), "any"),
    "leak: logged": (lambda target, task, random: np.log(target - target.min() + 1), "any"),
    "leak: 1 % noise": (noisy, "any"),
    "leak: missing unless positive": (missing_unless, "binary"),
    "identifier: row number": (lambda target, task, random: np.arange(len(target)) + random.integers(0, 9), "any"),
    "identifier: shuffled": (lambda target, task, random: random.permutation(len(target)), "any"),
    "identifier: code": (lambda target, task, random: random.permutation(900_000)[: len(target)] + 100_000, "any"),
    "identifier: with prefix": (
        lambda target, task, random: [f"K{number:06}" for number in random.permutation(900_000)[: len(target)]],
        "any",
    ),
    "constant": (lambda target, task, random: np.full(len(target), random.integers(0, 9)), "any"),
    "constant with nulls": (
        lambda target, task, random: np.where(random.random(len(target)) < 0.3, np.nan, 4.0),
        "any",
    ),
}
NOT_FOUND: dict[str, tuple[Plant, str]] = {
    "target in ten bins": (
        lambda target, task, random: pd.qcut(target, 10, labels=False, duplicates="drop"),
        "numbers",
    ),
    "5 % of the rows wrong": (
        lambda target, task, random: np.where(random.random(len(target)) < 0.05, random.permutation(target), target),
        "classes",
    ),
}


def suits(kind: str, task: Name) -> bool:
    return kind == "any" or kind == task or kind == ("numbers" if is_number(task) else "classes")


def numbered(frame: pd.DataFrame, target: str, task: Name) -> Values:
    values = frame[target]
    numbers: Values = values.to_numpy(float) if is_number(task) else np.unique(values, return_inverse=True)[1]
    return numbers


def uses_of(frame: pd.DataFrame, labels: Values, task: Name) -> dict[str, Any]:
    table = typed(pa.Table.from_pandas(frame, preserve_index=False), Options(), "a table")
    return uses(table.rows, table.columns, labels.astype(bool) if task == "binary" else labels, task)


def main() -> None:
    kept = tables()
    honest: list[tuple[str, str]] = []
    columns = 0
    for name, (frame, target, task) in kept.items():
        features = frame.drop(columns=target)
        found = uses_of(features, numbered(frame, target, task), task)
        columns += len(found)
        honest += [(name, f"{column}: {use.reason}") for column, use in found.items() if use.reason]
    counts: dict[str, list[bool]] = defaultdict(list)
    for kind, (plant, tasks) in track({**FOUND, **NOT_FOUND}.items(), description="planting", transient=True):
        fitting = [name for name, (_, _, task) in kept.items() if suits(tasks, task)]
        for number in range(TIMES):
            frame, target, task = kept[fitting[number % len(fitting)]]
            labels = numbered(frame, target, task)
            values = plant(labels, task, np.random.default_rng(number))
            found = uses_of(frame.drop(columns=target).assign(planted=values), labels, task)
            counts[kind].append(bool(found["planted"].reason))
    table = Table(title="Plantings that `kiban init` leaves out")
    for heading in ("kind", "found", "of"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind, results in counts.items():
        table.add_row(kind if kind in FOUND else f"[not by a threshold] {kind}", str(sum(results)), str(len(results)))
    total = [each for kind in FOUND for each in counts[kind]]
    table.add_row("all that should be found", str(sum(total)), f"{len(total)} ({np.mean(total):.1%})")
    console = Console(width=100, markup=False)
    console.print(table)
    console.print(f"honest columns left out: {len(honest)} of {columns} ({len(honest) / columns:.1%})", *honest)


if __name__ == "__main__":
    main()
