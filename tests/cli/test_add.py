"""`kiban add`: the second and the third file of a table, as they usually come."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from sklearn import datasets
from slice import STAGES, run_stage

from kiban.cli import commands
from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.ingest import ledger

FRAME: pd.DataFrame = (
    datasets.load_breast_cancer(as_frame=True)
    .frame.iloc[:, [0, 1, 2, -1]]
    .set_axis(["radius", "texture", "perimeter", "malignant"], axis=1)
)
FRAME = FRAME.assign(
    patient=np.arange(len(FRAME)) * 7 + 3, beds=np.arange(len(FRAME)) % 9, town=np.resize(["Ulm", "Bonn"], len(FRAME))
)
FIRST = FRAME.iloc[:400]
RAW = Path("conf/contract/clinic/raw.yaml")


def kiban(*arguments: str) -> str:
    result = CliRunner().invoke(commands, list(arguments))
    if isinstance(result.exception, KibanError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def add(frame: pd.DataFrame, name: str, *options: str) -> str:
    frame.to_csv(f"{name}.csv", index=False)
    return kiban("add", f"{name}.csv", *options)


def batches() -> dict[str, int]:
    return {batch: entry.rows for batch, entry in ledger.read(paths.ledger("clinic"))["clinic"].items()}


@pytest.fixture
def clinic(project: Path) -> None:
    FIRST.to_csv("clinic.csv", index=False)
    kiban("init", "clinic.csv", "--target", "malignant")


@pytest.fixture
def keyed(project: Path) -> None:
    FIRST.to_csv("clinic.csv", index=False)
    kiban("init", "clinic.csv", "--target", "malignant", "--key", "patient")


def test_an_export_of_all_rows_brings_only_the_new_ones(clinic: None) -> None:
    """Reordered, and with columns in another order."""
    told = add(FRAME.sample(frac=1, random_state=0)[FRAME.columns[::-1]], "march")
    assert "569 rows: 400 are there already, 169 are new" in told
    assert batches() == {"001-clinic": 400, "002-march": 169}
    assert "train" in told
    before = batches()
    assert "569 are there already, 0 are new" in add(FRAME, "april")
    assert batches() == before
    hashes = [
        text
        for batch in before
        for text in parquet.read(paths.raw_file("clinic", "clinic", batch))["row_hash"].to_pylist()
    ]
    assert len(set(hashes)) == 569


def test_equal_rows_are_rows_of_their_own(clinic: None) -> None:
    """Three copies of a row that is there once: two are new, and their numbers go on."""
    told = add(pd.concat([FIRST, FIRST.iloc[[0, 0]]]), "copies")
    assert "402 rows: 400 are there already, 2 are new" in told
    new = parquet.read(paths.raw_file("clinic", "clinic", "002-copies"))
    assert [text.partition("-")[2] for text in new["row_hash"].to_pylist()] == ["2", "3"]


def test_a_correction_needs_a_key_and_the_newest_delivery_wins(keyed: None) -> None:
    first = batches()
    corrected = FIRST.iloc[:5].assign(texture=99.5)
    with pytest.raises(KibanError, match=r"other values .* for 5 keys, such as patient 3: --replace takes them"):
        add(corrected, "corrections")
    assert batches() == first
    told = add(pd.concat([corrected, FRAME.iloc[400:402]]), "corrections", "--replace")
    assert "7 rows: 0 are there already, 7 are new, 5 of them in the place of rows with their key" in told
    for stage in ("config", "ingest", "validate_raw", "prepare"):
        run_stage(stage)
    prepared = pa.concat_tables(
        parquet.read(paths.prepared_file("clinic", batch)) for batch in ("001-clinic", "002-corrections")
    ).to_pandas()
    assert len(prepared) == 402
    assert (prepared.set_index("patient").loc[FIRST.patient[:5], "texture"] == 99.5).all()


def test_a_table_without_a_key_cannot_replace(clinic: None) -> None:
    with pytest.raises(KibanError, match=r"--replace: conf/contract/clinic/raw.yaml names no key"):
        add(FIRST, "again", "--replace")


def test_a_kill_between_the_snapshot_and_the_ledger_leaves_what_was_there(
    clinic: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = batches()
    FRAME.to_csv("march.csv", index=False)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "write", lambda *_: sys.exit(137))
        assert CliRunner().invoke(commands, ["add", "march.csv"]).exit_code == 137
    assert batches() == before
    assert paths.raw_file("clinic", "clinic", "002-march").exists()
    run_stage("ingest")
    assert not paths.raw_file("clinic", "clinic", "002-march").exists()
    add(FRAME, "march")
    assert batches() == {**before, "002-march": 169}


def test_two_at_once_are_taken_one_after_the_other(clinic: None) -> None:
    files = {"march": FRAME.iloc[400:480], "april": FRAME.iloc[470:]}
    for name, rows in files.items():
        rows.to_csv(f"{name}.csv", index=False)
    command = [sys.executable, "-c", "from kiban.cli import main; main()", "add"]
    running = [subprocess.Popen([*command, f"{name}.csv"], stdout=subprocess.PIPE, text=True) for name in files]
    assert [process.wait(60) for process in running] == [0, 0]
    for process in running:
        process.communicate()
    rows = batches()
    assert sum(rows.values()) == 569  # the ten rows of both files once
    assert sorted(name[:3] for name in rows) == ["001", "002", "003"]


def test_what_is_unusual_is_told_and_taken(clinic: None) -> None:
    told = add(FRAME.iloc[400:].assign(town="Köln", texture=1e6), "march")
    assert "warning: town: 169 values are not among the levels, such as Köln" in told
    assert "warning: texture: 169 values are outside the range" in told
    assert batches()["002-march"] == 169


WARD = "    ward: {type: string, role: feature, nullable: true, since: 002-march, description: ward}\n    beds:"
CHANGES = {
    "a column more": (
        lambda new: new.assign(ward=np.resize(["A", "B"], len(new))),
        "march.csv has column 'ward', which the contract lacks",
        ("    beds:", WARD),
    ),
    "a column less": (
        lambda new: new.drop(columns="beds"),
        "march.csv lacks column 'beds'. If it has no such column from now on: add `until: 001-clinic` to 'beds'",
        ("beds: {", "beds: {until: 001-clinic, "),
    ),
    "a new name": (
        lambda new: new.rename(columns={"beds": "places"}),
        "If 'places' is the new name of 'beds': rename that column",
        ("beds: {", "places: {since: 002-march, was: beds, "),
    ),
    "a wider type": (
        lambda new: new.assign(beds=new.beds + 0.5),
        "row 1: '4.5' is not of type integer. If the column has such values from now on, give it another type",
        ("beds: {type: integer", "beds: {since: 002-march, was: {type: integer}, type: number"),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_does_not_fit_is_refused_with_the_edit_that_takes_it(clinic: None, name: str) -> None:
    change, said, edit = CHANGES[name]
    new = change(FRAME.iloc[400:])
    with pytest.raises(KibanError) as raised:
        add(new, "march")
    assert said in str(raised.value)
    assert "conf/contract/clinic/raw.yaml" in str(raised.value)
    assert batches() == {"001-clinic": 400}
    assert edit[0] in RAW.read_text()
    RAW.write_text(RAW.read_text().replace(*edit, 1))
    assert "0 are there already, 169 are new" in add(new, "march")
    for stage in ("config", "ingest", "validate_raw", "prepare"):
        run_stage(stage)
    prepared = [parquet.read(paths.prepared_file("clinic", batch)) for batch in batches()]
    assert sum(rows.num_rows for rows in prepared) == 569
    assert prepared[0].schema.equals(prepared[1].schema)
    # The next export has all rows in the new layout: the old ones are known by the columns that they had.
    old = FIRST if name == "a wider type" else change(FIRST)
    assert "569 are there already, 0 are new" in add(pd.concat([old, new]), "may")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda new: new.assign(malignant=2), "column 'malignant' must be 1 or less, but is 2 in one of 169 rows"),
        (lambda new: new.assign(patient=3), "two rows have the same key (patient)"),
        (lambda new: new.assign(patient=None), "column 'patient' may not be null, but is None in one of 169 rows"),
    ],
)
def test_a_target_and_a_key_stay_what_they_are(keyed: None, change: object, said: str) -> None:
    with pytest.raises(KibanError) as raised:
        add(change(FRAME.iloc[400:]), "march")  # type: ignore[operator]
    assert said in str(raised.value)
    assert batches() == {"001-clinic": 400}


def test_a_column_that_went_from_a_table_with_a_key(keyed: None) -> None:
    RAW.write_text(RAW.read_text().replace("beds: {", "beds: {until: 001-clinic, ", 1))
    assert "400 are there already, 169 are new" in add(FRAME.drop(columns="beds"), "march")


def test_a_later_file_may_be_in_another_encoding(project: Path) -> None:
    frame = FIRST.assign(town=np.resize(["Köln", "München"], len(FIRST)))
    Path("clinic.csv").write_bytes(frame.to_csv(index=False).encode("cp1252"))
    kiban("init", "clinic.csv", "--target", "malignant")
    told = add(frame, "again")  # in UTF-8
    assert "400 are there already, 0 are new" in told


TIMED = FRAME.assign(at=(pd.Timestamp("2024-01-03") + pd.to_timedelta(np.arange(len(FRAME)) * 10, "h")).astype(str))
"""From January to August."""


@pytest.fixture
def timed(project: Path) -> None:
    TIMED.iloc[:500].to_csv("clinic.csv", index=False)
    kiban("init", "clinic.csv", "--target", "malignant", "--time", "at", "--key", "patient")


def test_later_rows_of_a_month_that_is_there_are_a_batch_of_their_own(timed: None) -> None:
    assert list(batches()) == [f"2024-0{month}" for month in range(1, 8)]
    told = add(TIMED, "august")
    assert "569 rows: 500 are there already, 69 are new" in told
    assert set(batches()) == {*(f"2024-0{month}" for month in range(1, 9)), "2024-07.2"}
    for stage in STAGES:
        run_stage(stage)
    prepared = pa.concat_tables(parquet.read(paths.prepared_file("clinic", batch)) for batch in batches())
    assert prepared.num_rows == 569


def test_a_correction_stays_in_its_period(timed: None) -> None:
    add(TIMED.iloc[:1].assign(texture=1.0), "correction", "--replace")
    assert "2024-01.2" in batches()
    moved = TIMED.iloc[1:2].assign(at="2024-05-05 10:00:00")
    with pytest.raises(KibanError, match=r"has patient 10 in 2024-05, and it is there in 2024-01: a correction stays"):
        add(moved, "moved", "--replace")


def test_the_advice_about_a_table_of_time_names_its_period(timed: None) -> None:
    with pytest.raises(KibanError, match=r"ward: .type: number, .*decimal: ','.*since: 2024-07, "):
        add(TIMED.iloc[500:].assign(ward=np.resize(["1,5", "2,25"], 69)), "august")
