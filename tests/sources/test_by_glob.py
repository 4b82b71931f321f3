"""CSV and Parquet files, on this machine and in a real S3 server."""

import gzip
import os
import re
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from servers import Store
from slice import ROOT, whole

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.data import contract, parquet
from kiban.data.batches import bounds
from kiban.sources.by_glob import Files

FLIGHTS = contract.read_raw(ROOT / "conf/contract/flights/raw.yaml")["flights"]
RAW = Path("data/raw/flights/flights")


@pytest.fixture
def incoming(project: Path, slices: dict[str, list[str]]) -> Path:
    """The flights of the slice by month, as CSV."""
    folder = Path("incoming")
    folder.mkdir()
    header, *lines = slices["flights"]
    for month in (1, 2, 3):
        of_month = [line for line in lines if line.startswith(f"2013,{month},")]
        (folder / f"flights-2013-0{month}.csv").write_text("\n".join([header, *of_month]) + "\n")
    return folder


def digest(source: Files, batch: str, folder: Path) -> str:
    rows = whole(source.read(batch, bounds(batch, "America/New_York")))
    path = folder / "taken.parquet"
    parquet.write(parquet.conform(parquet.with_nulls(rows, ["NA"]), FLIGHTS, "test"), path)
    return files.sha256(path)


def as_csv(incoming: Path) -> str:
    return "incoming/flights-{batch}.csv"


def as_path_of_another_form(incoming: Path) -> str:
    return "./incoming//flights-{batch}.csv"


def as_url(incoming: Path) -> str:
    return f"file://{incoming.resolve()}/flights-{{batch}}.csv"


def as_gzip(incoming: Path) -> str:
    for path in list(incoming.iterdir()):
        (incoming / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    return "incoming/flights-{batch}.csv.gz"


def as_parquet(incoming: Path) -> str:
    for path in sorted(RAW.glob("*.parquet")):
        pq.write_table(pq.read_table(path), incoming / path.name, compression="gzip")
    return "incoming/{batch}.parquet"


def in_parts(incoming: Path) -> str:
    for path in list(incoming.iterdir()):
        header, *lines = path.read_text().splitlines()
        folder = incoming / path.stem.removeprefix("flights-")
        folder.mkdir()
        for number in (0, 1):
            (folder / f"part-{number}.csv").write_text("\n".join([header, *lines[number::2]]) + "\n")
    return "incoming/{batch}/part-*.csv"


@pytest.mark.parametrize("layout", [as_csv, as_path_of_another_form, as_url, as_gzip, as_parquet, in_parts])
def test_the_same_rows_give_the_same_bytes(incoming: Path, tmp_path: Path, layout: Any) -> None:
    source = Files(layout(incoming))
    assert source.batches() == ["2013-01", "2013-02", "2013-03"]
    for batch in source.batches():
        assert digest(source, batch, tmp_path) == files.sha256(RAW / f"{batch}.parquet")


def test_other_separators_and_encodings_are_options(incoming: Path, tmp_path: Path) -> None:
    path = incoming / "flights-2013-01.csv"
    path.write_bytes(path.read_text().replace(",", ";").encode("utf-16"))
    source = Files("incoming/flights-{batch}.csv", delimiter=";", encoding="utf-16")
    assert digest(source, "2013-01", tmp_path) == files.sha256(RAW / "2013-01.parquet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "||"}, "dataset source delimiter '||': it must be one character of ASCII"),
        ({"delimiter": '"'}, "dataset source delimiter '\"': it must be one character of ASCII, no quote"),
        (
            {"delimiter": "\n"},
            "dataset source delimiter '\\n': it must be one character of ASCII, no quote and no line end",
        ),
        ({"delimiter": "§"}, "dataset source delimiter '§': it must be one character of ASCII"),
        ({"encoding": "no-such-code"}, "flights-2013-01.csv is not text in no-such-code: "),
        ({"encoding": "utf-16"}, "flights-2013-01.csv is not text in utf-16: "),
    ],
)
def test_options_that_cannot_be_are_one_line(incoming: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(KibanError, match=re.escape(message)):
        whole(Files("incoming/flights-{batch}.csv", **options).read("2013-01", None))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_of_a_batch_that_differ_in_columns_are_refused(tmp_path: Path, kind: str) -> None:
    """Or the column that one lacks would be null in its rows."""
    for name, columns in (("a", ["key", "value"]), ("b", ["value", "key"]), ("c", ["key"])):
        rows = pa.table({column: ["1", "2"] for column in columns})
        path = tmp_path / f"2013-01/{name}.{kind}"
        path.parent.mkdir(exist_ok=True)
        csv.write_csv(rows, path) if kind == "csv" else pq.write_table(rows, path)
    with pytest.raises(KibanError, match=rf"c\.{kind} has no column 'value', which another file of the batch has"):
        whole(Files(f"{tmp_path}/{{batch}}/*.{kind}").read("2013-01", None))
    (tmp_path / f"2013-01/c.{kind}").unlink()
    assert whole(Files(f"{tmp_path}/{{batch}}/*.{kind}").read("2013-01", None)).num_rows == 4


def test_a_quote_that_was_forgotten_is_no_value(tmp_path: Path) -> None:
    """Arrow reads two rows here, and so did we."""
    (tmp_path / "a.csv").write_text('key,value\n1,"alpha\n2,beta\n3,gamma"\n4,delta\n')
    assert whole(Files(f"{tmp_path}/a.csv").read("static", None)).num_rows == 2  # a line end within quotes is no fault
    (tmp_path / "a.csv").write_text('key,value\n1,"alpha\n2,beta\n3,gamma" \n4,delta\n')
    with pytest.raises(KibanError, match=r"a\.csv, row 1: wrong quotes"):
        whole(Files(f"{tmp_path}/a.csv").read("static", None))
    (tmp_path / "a.csv").write_text('key,value\n1,"alpha\n2,beta\n')
    with pytest.raises(KibanError, match=r"a\.csv, row 1: a quote is opened and not closed"):
        whole(Files(f"{tmp_path}/a.csv").read("static", None))


def test_a_large_value_is_read(tmp_path: Path) -> None:
    for value in ("x" * 3_000_000, '"' + 'say ""x"", ' * 200_000 + '"'):
        (tmp_path / "a.csv").write_text(f"key,value\n1,{value}\n2,b\n")
        rows = whole(Files(f"{tmp_path}/a.csv").read("static", None))
        assert rows["key"].to_pylist() == ["1", "2"]
        assert len(rows["value"][0].as_py()) > 1_500_000


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"key,value\n" + b"1,x\n" * 10_000_000))
    with pytest.raises(KibanError, match=r"a\.csv\.gz has more than 100 times its packed size"):
        whole(Files(f"{tmp_path}/a.csv.gz").read("static", None))


def test_the_folder_of_the_repository_is_never_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "p[1]*"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("2013-01.csv").write_text("key\n1\n")
    assert Files("{batch}.csv").batches() == ["2013-01"]
    assert whole(Files("2013-*.csv").read("static", None)).num_rows == 1


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"value": range(10_000)}), path, compression="none", write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[20_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(KibanError, match=r"a\.parquet is not a whole Parquet file: .*CRC"):
        whole(Files(str(path)).read("static", None))


def test_without_a_batch_in_its_name_a_table_is_static(project: Path, slices: dict[str, list[str]]) -> None:
    Path("planes.csv").write_text("\n".join(slices["planes"]) + "\n")
    source = Files("planes.csv")
    assert source.batches() == ["static"]
    assert whole(source.read("static", None)).num_rows == len(slices["planes"]) - 1


def test_what_is_not_there_or_badly_named_is_said(incoming: Path) -> None:
    with pytest.raises(KibanError, match=r"no file matches incoming/trains-\{batch\}\.csv"):
        Files("incoming/trains-{batch}.csv").batches()
    with pytest.raises(KibanError, match=r"incoming/flights-\{batch\}\.csv has no batch 2013-09"):
        whole(Files("incoming/flights-{batch}.csv").read("2013-09", None))
    (incoming / "flights-latest.csv").touch()
    with pytest.raises(KibanError, match=r"flights-latest\.csv matches .*, but names no batch such as 2013-01"):
        Files("incoming/flights-{batch}.csv").batches()
    (incoming / "flights-2013-01.xlsx").touch()
    with pytest.raises(KibanError, match=r"a name must end with \.csv, \.csv\.gz or \.parquet"):
        whole(Files("incoming/flights-{batch}.xlsx").read("2013-01", None))


def test_from_an_s3_store_the_bytes_are_the_same(incoming: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in store.environment.items():
        if name != "AWS_ENDPOINT_URL":
            monkeypatch.setenv(name, value)
    folder = store.folder / "dvc/flights"
    folder.mkdir()
    for path in incoming.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    source = Files("s3://dvc/flights/flights-{batch}.csv", endpoint_url=store.environment["AWS_ENDPOINT_URL"])
    assert source.batches() == ["2013-01", "2013-02", "2013-03"]
    assert digest(source, "2013-02", Path()) == files.sha256(RAW / "2013-02.parquet")


@pytest.mark.parametrize("trouble", ["wrong key", "no key", "refused"])
def test_a_store_that_does_not_answer_well_is_one_line_without_a_secret(
    project: Path, store: Store, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    if trouble == "wrong key":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "kiban-wrong-secret")
    elif trouble == "no key":
        monkeypatch.setenv("HOME", os.getcwd())  # nor one in a file
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    else:
        store.kill()
    started = time.monotonic()
    with pytest.raises(KibanError, match=r"s3://dvc/flights-\{batch\}\.csv cannot be read: ") as raised:
        Files("s3://dvc/flights-{batch}.csv").batches()
    assert time.monotonic() - started < 60
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)
    assert ("AWS_ACCESS_KEY_ID" in str(raised.value)) == (trouble != "refused")
