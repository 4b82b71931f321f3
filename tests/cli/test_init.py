"""`kiban init`: from a file to a configuration and a contract, told in a table, and never over a person's edits."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result
from sklearn import datasets
from slice import STAGES, run_stage

from kiban.cli import commands
from kiban.core.errors import KibanError
from kiban.core.paths import ledger
from kiban.data import contract

WINE: pd.DataFrame = datasets.load_wine(as_frame=True).frame
CANCER: pd.DataFrame = datasets.load_breast_cancer(as_frame=True).frame.iloc[:, [0, 1, 2, -1]]


def init(*arguments: str) -> Result:
    result = CliRunner().invoke(commands, ["init", *arguments])
    if isinstance(result.exception, KibanError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def written() -> dict[Path, bytes]:
    files = [path for folder in ("conf", "data") for path in Path(folder).rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in [*files, Path("params.yaml")] if path.suffix != ".lock"}


@pytest.fixture
def wine(project: Path) -> str:
    WINE.to_csv("wine.csv", index=False)
    return "wine.csv"


def test_a_second_init_gives_the_same_bytes_and_an_edited_file_stays(wine: str) -> None:
    told = init(wine, "--target", "target")
    assert told.exit_code == 0
    assert "multiclass: 3 whole numbers" in told.output
    assert "dvc repro" in told.output
    assert max(len(line) for line in told.output.splitlines() if "git add" not in line) <= 100
    first = written()
    assert init(wine, "--target", "target").exit_code == 0
    assert written() == first
    path = Path("conf/contract/wine/raw.yaml")
    path.write_text(path.read_text().replace("unit: null", "unit: percent", 1))
    edited = written()
    with pytest.raises(KibanError, match=r"^conf/contract/wine/raw\.yaml: edited since, and not overwritten"):
        init(wine, "--target", "target")
    assert written() == edited
    assert init(wine, "--target", "target", "--force").exit_code == 0
    assert written() == first


def test_other_data_of_the_same_name_is_not_overwritten(wine: str) -> None:
    init(wine, "--target", "target")
    before = written()
    WINE.iloc[:150].to_csv("wine.csv", index=False)
    with pytest.raises(KibanError, match="has other data already") as raised:
        init(wine, "--target", "target")
    assert "--name" in str(raised.value)
    assert written() == before


def test_a_dry_run_and_a_refusal_write_nothing(wine: str) -> None:
    before = written()
    assert "nothing was written" in init(wine, "--target", "target", "--dry-run").output
    for arguments, said in {
        ("--target", "color"): "--target color: there is no such column; there are alcohol, ",
        ("--target", "target", "--positive", "7"): "--positive 7: target has no such value, but '0', '1', '2'",
        ("--target", "alcohol", "--task", "multiclass"): "the values of alcohol are fractions",
        ("--target", "target", "--drop", "x"): "--drop x: there is no such column",
        ("--target", "target", "--name", "!"): "gives no name for the dataset",
    }.items():
        with pytest.raises(KibanError, match=said):
            init(wine, *arguments)
    for file in ("table.xlsx", "table.pkl"):
        Path(file).write_bytes(b"x")
        with pytest.raises(KibanError, match=r"save the sheet as CSV|a name must end with"):
            init(file, "--target", "target")
    with pytest.raises(KibanError, match="download the file"):
        init("https://example.org/wine.csv", "--target", "target")
    assert written() == before


def test_what_is_ambiguous_ends_with_status_2_and_all_options(project: Path) -> None:
    days = pd.date_range("2024-01-01", periods=12).strftime("%d/%m/%Y")
    frame = pd.DataFrame({"day": np.resize(days, 60), "price": [f"{n}.500" for n in range(1, 61)], "y": [1, 0] * 30})
    frame.to_csv("sales.csv", index=False)
    asked = init("sales.csv", "--target", "y")
    assert asked.exit_code == 2
    assert "column 'day': does '01/01/2024' begin with the day or the month? (give --dates day-first)" in asked.output
    assert "column 'price': is '1.500' a fraction, or are these thousands? (give --decimal . or ,)" in asked.output
    answered = init("sales.csv", "--target", "y", "--dates", "day-first", "--decimal", ".", "--keep", "price")
    assert answered.exit_code == 0, answered.output
    columns = contract.prepared_of("sales").columns
    assert (columns["day"].type, columns["price"].type) == ("date", "number")


def test_a_time_zone_must_be_one(wine: str) -> None:
    refused = init(wine, "--target", "target", "--timezone", "Berlin")
    assert refused.exit_code == 2
    assert "must be a time zone of the IANA database" in refused.output


def test_a_column_that_is_left_out_comes_back_with_one_word(project: Path) -> None:
    CANCER.assign(outcome=CANCER.target).to_csv("cancer.csv", index=False)
    init("cancer.csv", "--target", "target")
    path = Path("conf/contract/cancer/raw.yaml")
    (line,) = [line for line in path.read_text().splitlines() if line.strip().startswith("outcome:")]
    assert "left out: tells the target by itself" in line
    path.write_text(path.read_text().replace(line, line.replace("role: info", "role: feature")))
    assert "outcome" in contract.prepared_of("cancer").features()


def test_a_target_keeps_its_own_words(project: Path) -> None:
    CANCER.assign(target=np.where(CANCER.target == 1, ">50K", "<=50K")).to_csv("income.csv", index=False)
    init("income.csv", "--target", "target", "--positive", ">50K", "--no-default")
    target = contract.prepared_of("income").columns["target"]
    assert (target.positive, target.levels) == (">50K", ["<=50K", ">50K"])
    assert yaml.safe_load(Path("params.yaml").read_text())["dataset"]["name"] == "flights"


def test_the_kinds_of_files_give_the_same_table(project: Path) -> None:
    hashes = set()
    CANCER.to_csv("a.csv", index=False)
    Path("b.csv.gz").write_bytes(gzip.compress(CANCER.to_csv(index=False).encode(), mtime=0))
    CANCER.to_csv("c.tsv", index=False, sep="\t")
    CANCER.to_json("d.jsonl", orient="records", lines=True, double_precision=15)
    CANCER.to_parquet("e.parquet", index=False)
    Path("f").mkdir()
    CANCER.iloc[:300].to_csv("f/1.csv", index=False)
    CANCER.iloc[300:].to_csv("f/2.csv", index=False)
    for number, path in enumerate(("a.csv", "b.csv.gz", "c.tsv", "d.jsonl", "e.parquet", "f")):
        name = f"table{number}"
        init(path, "--target", "target", "--name", name, "--no-default")
        (entry,) = yaml.safe_load(ledger(name).read_text())[name].values()
        hashes.add(entry["sha256"])
        assert len(hashes) == 1, path


def test_a_name_or_a_file_that_is_another_s_is_refused_and_all_stays(project: Path) -> None:
    CANCER.to_csv("cancer.csv", index=False)
    before = written()
    group = ("--group", "mean radius")
    for arguments, said in {
        ("--name", "no"): "'no' is a word of YAML",
        (
            "--name",
            "flights",
            "--force",
        ): "conf/dataset/flights.yaml: there already, and not by",
        ("--name", "by_row", "--force", *group): "conf/split/by_row.yaml: there already, and not by `kiban init`",
        ("--key", "target"): "--key target: two rows of cancer.csv have the same",
    }.items():
        with pytest.raises(KibanError, match=said):
            init("cancer.csv", "--target", "target" if "--key" not in arguments else "mean radius", *arguments)
        assert written() == before, arguments


def test_numbers_beyond_single_precision_are_left_out(project: Path) -> None:
    CANCER.assign(huge=CANCER["mean radius"] * 1e300, serial=2**60 + CANCER.index % 7).to_csv("cancer.csv", index=False)
    init("cancer.csv", "--target", "target")
    text = Path("conf/contract/cancer/raw.yaml").read_text()
    assert "left out: numbers beyond single precision" in text
    assert "left out: whole numbers above 2**53" in text


def test_the_parquet_file_that_trained_the_model_is_scored(project: Path) -> None:
    times = pd.date_range("2024-01-01", periods=len(CANCER), freq="h")
    table = CANCER.assign(
        at=times, size=CANCER["mean radius"].astype(str), town=np.where(CANCER.index % 2, "Ulm ", "Bonn")
    )
    table.to_parquet("cancer.parquet", index=False)
    init("cancer.parquet", "--target", "target", "--timezone", "Europe/Berlin")
    for stage in STAGES:
        run_stage(stage)
    told = CliRunner().invoke(
        commands, ["score", "cancer.parquet", "scored.csv", "--any-model"], catch_exceptions=False
    )
    assert "score: 569 rows" in told.output
    assert "outside" not in told.output
