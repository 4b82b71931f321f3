"""Which columns are features: what is planted is found, and honest columns stay."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import datasets

from kiban.profile.roles import Use, uses
from kiban.profile.table import typed
from kiban.profile.types import Options
from kiban.tasks.task import Name

CANCER: pd.DataFrame = datasets.load_breast_cancer(as_frame=True).frame
DIABETES: pd.DataFrame = datasets.load_diabetes(as_frame=True).frame
RANDOM = np.random.default_rng(0)


def uses_of(frame: pd.DataFrame, target: str, task: Name) -> dict[str, Use]:
    table = typed(pa.Table.from_pandas(frame.drop(columns=target), preserve_index=False), Options(), "a test")
    numbers = frame[target].to_numpy()
    return uses(table.rows, table.columns, numbers.astype(bool) if task == "binary" else numbers, task)


@pytest.mark.parametrize(("frame", "task"), [(CANCER, "binary"), (DIABETES, "regression")])
def test_honest_columns_stay(frame: pd.DataFrame, task: Name) -> None:
    found = uses_of(frame, "target", task)
    assert {use.role for use in found.values()} == {"feature"}


PLANTED = {
    "a row number": (np.arange(len(CANCER)), "a row number"),
    "a shuffled row number": (RANDOM.permutation(len(CANCER)) + 1000, "a row number"),
    "a code": (RANDOM.permutation(900_000)[: len(CANCER)] + 100_000, "an identifier"),
    "a code with a prefix": ([f"K-{number}" for number in RANDOM.permutation(90_000)[: len(CANCER)]], "an identifier"),
    "a constant": (np.full(len(CANCER), 7), "it has only one value"),
    "a constant with nulls": (np.where(CANCER.index % 3, 7.0, np.nan), "it has only one value"),
    "nearly nothing": (np.where(CANCER.index < 5, RANDOM.random(len(CANCER)), np.nan), "of its values are missing"),
    "free text": ([f"the patient of room {n} says {'yes' * (n % 3)}" for n in range(len(CANCER))], "free text"),
    "a copy": (CANCER.target.to_numpy(), "tells the target by itself"),
    "a recoded copy": (np.where(CANCER.target == 1, "closed", "open"), "tells the target by itself"),
    "a copy with noise": (CANCER.target + 0.01 * RANDOM.standard_normal(len(CANCER)), "tells the target by itself"),
    "missing unless positive": (np.where(CANCER.target == 1, RANDOM.random(len(CANCER)), np.nan), "tells the target"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_tells_nothing_or_all_is_left_out(name: str) -> None:
    values, reason = PLANTED[name]
    found = uses_of(CANCER.assign(planted=values), "target", "binary")
    assert found["planted"].role == "info"
    assert reason in (found["planted"].reason or "")


@pytest.mark.parametrize(
    "copy",
    [
        DIABETES.target * 1.19,
        np.log(DIABETES.target),
        -DIABETES.target,
        DIABETES.target + 0.7 * RANDOM.standard_normal(len(DIABETES)),  # 1 % of its deviation
    ],
)
def test_a_number_on_another_scale_is_a_copy(copy: pd.Series) -> None:
    found = uses_of(DIABETES.assign(planted=copy), "target", "regression")
    assert "tells the target by itself" in (found["planted"].reason or "")


def test_pandas_index_is_known() -> None:
    found = uses_of(CANCER.reset_index(names="Unnamed: 0"), "target", "binary")
    assert found["Unnamed: 0"].reason == "pandas' index, a row number"
