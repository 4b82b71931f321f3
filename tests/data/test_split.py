from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pydantic import ValidationError
from slice import ROOT

from kiban.config.__main__ import Params
from kiban.core.errors import KibanError
from kiban.core.settings import read
from kiban.data.split import SPLITS, ByRow, batches_of, mature, parse, place

SHARES = {"by": [], "seed": 0, "validation": 0.2, "test": 0.1}


def test_batches_fall_into_their_split() -> None:
    split = read(Params, ROOT / "params.yaml").split
    months = [split.of(f"2013-{month:02d}") for month in range(1, 13)]
    assert months == [["train"]] * 9 + [["validation"]] + [["test"]] * 2
    assert split.of("2014-01") == []
    assert batches_of(split, ["2013-11", "2013-10", "2014-01", "2013-12"]) == {
        "train": [],
        "validation": ["2013-10"],
        "test": ["2013-11", "2013-12"],
    }


def rows_of(count: int) -> pa.Table:
    return pa.table({"id": range(count), "customer": [f"c{number % 50}" for number in range(count)]})


def test_rows_fall_into_shares_by_their_key_alone() -> None:
    split = ByRow.model_validate(SHARES)
    rows = rows_of(5000)
    parts = {each: split.parts("static", rows, ["id"])[each]["id"].to_pylist() for each in SPLITS}
    assert sorted(chain.from_iterable(parts.values())) == list(range(5000))
    assert [len(parts[each]) / 5000 for each in SPLITS] == pytest.approx([0.7, 0.2, 0.1], abs=0.02)
    shuffled = rows.take(np.random.default_rng(0).permutation(5000)[:1000])
    for each in SPLITS:
        assert set(split.parts("static", shuffled, ["id"])[each]["id"].to_pylist()) <= set(parts[each])


def test_rows_of_a_group_stay_together() -> None:
    split = ByRow.model_validate({**SHARES, "by": ["customer"]})
    groups = [set(split.parts("static", rows_of(5000), ["id"])[each]["customer"].to_pylist()) for each in SPLITS]
    assert sum(map(len, groups)) == 50
    with pytest.raises(KibanError, match=r"split\.by: the prepared table has no column 'nosuch'"):
        ByRow.model_validate({**SHARES, "by": ["nosuch"]}).parts("static", rows_of(5), ["id"])["train"]


def test_the_place_of_a_row_is_the_same_in_every_release() -> None:
    """A row that changed sides would let a model be tested on what an earlier one was trained on."""
    rows = pa.table({"a": ["x", None, "x"], "b": [1, 2, 2]})
    assert place(rows, ["a", "b"], 0).tolist() == pytest.approx(PLACES)
    assert place(rows, ["a"], 1).tolist() != place(rows, ["a"], 0).tolist()
    assert place(rows.slice(0, 0), ["a"], 0).tolist() == []


PLACES = [0.5458407187158538, 0.6952302126134595, 0.3498717898704966]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({**SHARES, "test": 0.8}, "split: validation and test must leave rows to train"),
        ({**SHARES, "seed": -1}, "split.seed: Input should be greater than or equal to 0"),
        ({"by": []}, "split.seed: missing"),
        ({"train": {"first": "2013-01", "last": "2013-02"}}, "split.validation: missing"),
        ({"train": {"first": "13-01", "last": "2013-02"}}, "split.train.first: String should match"),
    ],
)
def test_a_mistake_is_named_by_its_key(tmp_path: Path, section: dict[str, Any], message: str) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**params, "split": section}))
    with pytest.raises(KibanError, match=message):
        read(Params, tmp_path / "params.yaml")


def test_by_time_the_three_must_follow_one_another() -> None:
    from kiban.data.split import parse

    with pytest.raises(ValidationError, match="must follow one another"):
        parse({each: {"first": "2013-01", "last": "2013-02"} for each in SPLITS}, [])


MONTHS = [f"2013-{month:02d}" for month in range(1, 13)]


def test_a_batch_counts_once_it_is_mature() -> None:
    newest = {"newest": {"validation": 1, "test": 2}, "matures": 31}
    of = parse(newest, MONTHS)
    assert [of.of(month) for month in ("2013-08", "2013-09", "2013-10", "2013-11", "2013-12")] == [
        ["train"],
        ["validation"],
        ["test"],
        ["test"],
        [],
    ]
    assert mature([*MONTHS, "2013-12.2"], 1) == MONTHS[:-1]
    periods = {
        "train": {"first": "2013-01", "last": "2013-09"},
        "validation": {"first": "2013-10", "last": "2013-10"},
        "test": {"first": "2013-11", "last": "2013-12"},
    }
    assert parse({**periods, "matures": 31}, MONTHS).of("2013-12") == []
    assert parse({**periods, "matures": 0}, MONTHS).of("2013-12") == ["test"]
    with pytest.raises(KibanError, match="no batch of the test period is 90 days old yet"):
        parse({**periods, "matures": 90}, MONTHS)
    assert mature(["001-customers", "static"], 10) == ["001-customers", "static"]
