"""The ways in which a batch can be bad at its source: each is caught before prepare, by batch, column and rule.

February's flights arrive as a file, in an edited form of the real rows; the other batches are there already.
"""

import io
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from slice import run_stage, take_new

from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.ingest import ledger

RAW = Path("data/raw/flights/flights/2013-02.parquet")
Arrive = Callable[[bytes, str], None]


@pytest.fixture
def arrive(project: Path) -> Arrive:
    """Lay down the content of a file as February's flights, which the ledger and data/raw do not have yet."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    recorded = ledger.read(paths.ledger("flights"))
    del recorded["flights"]["2013-02"]
    ledger.write(paths.ledger("flights"), recorded)
    RAW.unlink()

    def lay_down(content: bytes, suffix: str) -> None:
        path = f"incoming/{{batch}}.{suffix}"
        source = {"_target_": "kiban.sources.Files", "options": {"path": path}, "missing": ["NA"]}
        params["dataset"]["tables"]["flights"]["source"] = source
        Path("params.yaml").write_text(yaml.safe_dump(params))
        Path("incoming").mkdir(exist_ok=True)
        Path(path.format(batch="2013-02")).write_bytes(content)

    return lay_down


@pytest.fixture(scope="module")
def february(slices: dict[str, list[str]]) -> list[str]:
    """The header and the lines of February."""
    return [slices["flights"][0], *(line for line in slices["flights"] if line.startswith("2013,2,"))]


def content(lines: list[str], encoding: str = "utf-8") -> bytes:
    return ("\n".join(lines) + "\n").encode(encoding)


def first(lines: list[str], old: str, new: str) -> list[str]:
    """The lines with `old` replaced in the first data row that has it."""
    row = next(number for number, line in enumerate(lines) if number and old in line)
    return [*lines[:row], lines[row].replace(old, new, 1), *lines[row + 1 :]]


def zipped(lines: list[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flights.csv", content(lines))
    return buffer.getvalue()


def without_column(lines: list[str], name: str) -> list[str]:
    at = lines[0].split(",").index(name)
    return [",".join(value for index, value in enumerate(line.split(",")) if index != at) for line in lines]


# name, content made of the lines of February, what the error must say
AT_THE_DOOR: list[tuple[str, Callable[[list[str]], bytes], str]] = [
    ("latin-1", lambda of: content(first(of, ",ORD,", ",Orlé,"), "latin-1"), r"2013-02\.csv, line \d+ is not UTF-8"),
    ("utf-16", lambda of: content(of, "utf-16"), "line 1 is not UTF-8"),
    (
        "one comma more",
        lambda of: content([*of[:9], f"{of[9]},", *of[10:]]),
        "row 9: it has 20 fields, the header 19; correct the file",
    ),
    (
        "one value less",
        lambda of: content([*of[:9], of[9].partition(",")[2], *of[10:]]),
        "row 9: it has 18 fields, the header 19; correct the file",
    ),
    ("shifted by one", lambda of: content([*of[:9], "2013," + of[9].rpartition(",")[0], *of[10:]]), "row 9: .*not of"),
    ("no header", lambda of: content(of[1:]), "column 'time_hour' is missing"),
    ("renamed", lambda of: content([of[0].replace("dest", "destination"), *of[1:]]), "column 'dest' is missing"),
    ("column missing", lambda of: content(without_column(of, "tailnum")), "column 'tailnum' is missing"),
    (
        "column more",
        lambda of: content([f"{of[0]},gate", *(f"{line},B7" for line in of[1:])]),
        "column 'gate' is not in",
    ),
    ("column twice", lambda of: content([f"{of[0]},dest", *(f"{line},X" for line in of[1:])]), "'dest' occurs twice"),
    ("semicolons", lambda of: content([line.replace(",", ";") for line in of]), "column 'time_hour' is missing"),
    ("empty file", lambda of: b"", "is empty: the first line of a CSV file has the names of its columns"),
    ("header only", lambda of: content(of[:1]), r"2013-02\.csv has no rows"),
    ("a zip named csv", zipped, "is not UTF-8|is missing|cannot be read as names"),
    (
        "quote not closed",
        lambda of: content(first(of, ",JFK,", ',"JFK,')),
        "a quote is opened and not closed|wrong quotes",
    ),
    (
        "text for a number",
        lambda of: content(first(of, ",1089,", ",far,")),
        "column 'distance', row .* 'far' is not of",
    ),
    ("decimal comma", lambda of: content(first(of, ",1089,", ',"1089,5",')), "column 'distance', row .*1089,5"),
    ("fraction", lambda of: content(first(of, ",1089,", ",1089.5,")), "column 'distance', row .*1089.5"),
    (
        "no such time",
        lambda of: content(first(of, "2013-02-01T10", "2013-02-31T10")),
        "column 'time_hour', row .*02-31",
    ),
    (
        "a time without zone among others",
        lambda of: content(first(of, "2013-02-01T11:00:00Z", "2013-02-01T06:00:00")),
        "column 'time_hour', row .*2013-02-01T06:00:00",
    ),
]


def cases(of: list[Any], *quick: str) -> list[Any]:
    """The cases as parameters, by their names; those that are not named here are long."""
    assert set(quick) <= {name for name, *_ in of}
    return [pytest.param(*rest, id=name, marks=() if name in quick else pytest.mark.long) for name, *rest in of]


@pytest.mark.parametrize(("make", "says"), cases(AT_THE_DOOR, "latin-1", "column missing", "text for a number"))
def test_what_is_no_table_of_the_contract_is_refused_at_the_door(
    arrive: Arrive, february: list[str], make: Callable[[list[str]], bytes], says: str
) -> None:
    arrive(make(february), "csv")
    before = paths.ledger("flights").read_bytes()
    with pytest.raises(KibanError, match=says) as raised:
        take_new()
    assert "2013-02" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert paths.ledger("flights").read_bytes() == before
    assert not RAW.exists()


def written(rows: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, **options)
    return sink.getvalue().to_pybytes()


BAD_PARQUET: list[tuple[str, Callable[[pa.Table], bytes], str]] = [
    ("truncated", lambda rows: written(rows)[:20000], "is not a whole Parquet file"),
    ("text named parquet", lambda rows: b"year,month\n2013,2\n", "is not a whole Parquet file"),
    ("zero rows", lambda rows: written(rows.slice(0, 0)), "flights 2013-02 did not pass"),
    (
        "no time zone",
        lambda rows: written(rows.set_column(0, "time_hour", rows["time_hour"].cast(pa.timestamp("us")))),
        "column 'time_hour' has times without a time zone",
    ),
    (
        "lists for text",
        lambda rows: written(rows.set_column(1, "carrier", pa.array([["UA"]] * len(rows)))),
        "column 'carrier', row 1: .* is not of type string",
    ),
]


@pytest.mark.parametrize(("make", "says"), cases(BAD_PARQUET, "truncated", "zero rows"))
def test_a_bad_parquet_file_is_refused(
    arrive: Arrive, february_rows: pa.Table, make: Callable[[pa.Table], bytes], says: str
) -> None:
    arrive(make(february_rows), "parquet")
    with pytest.raises(KibanError, match=says) as raised:
        take_and_validate()
    assert "2013-02" in str(raised.value)


def take_and_validate() -> None:
    take_new()
    run_stage("ingest")
    run_stage("validate_raw")


@pytest.fixture(scope="module")
def february_rows(evaluated: Path) -> pa.Table:
    return parquet.read(evaluated / RAW)


Frame = Callable[[pd.DataFrame], pd.DataFrame]


def swapped(one: str, other: str) -> Frame:
    return lambda of: of.rename(columns={one: other, other: one})


def set_to(column: str, value: Any) -> Frame:
    """Every row."""
    return lambda of: of.assign(**{column: pd.Series(value, of.index, of[column].dtype)})


def first_to(column: str, value: Any) -> Frame:
    def edit(of: pd.DataFrame) -> pd.DataFrame:
        values = of[column].copy()
        values.iloc[7] = value
        return of.assign(**{column: values})

    return edit


def scaled(column: str, factor: float) -> Frame:
    return lambda of: of.assign(**{column: (of[column] * factor).round().astype("Int64")})


def moved(**by: Any) -> Frame:
    return lambda of: of.assign(time_hour=of.time_hour + pd.Timedelta(**by))


# name, edit of the rows, column and rule that the table must show
BY_THE_CONTRACT: list[tuple[str, Frame, str, str]] = [
    ("null in the key", first_to("carrier", None), "carrier", "not be null"),
    ("null where none may be", first_to("dest", None), "dest", "not be null"),
    ("all null", set_to("dest", None), "dest", "not be null"),
    ("all null where some may be", set_to("tailnum", None), "tailnum", "not be null"),
    ("a constant number", set_to("distance", 1000), "distance", "unique value count"),
    ("a constant text", set_to("carrier", "UA"), "carrier", "unique value count"),
    ("a level never seen", first_to("origin", "XYZ"), "origin", "be in set"),
    ("a space too many", first_to("origin", " JFK"), "origin", "be in set"),
    ("an extreme outlier", first_to("distance", 999_999), "distance", "be between"),
    ("a negative distance", first_to("distance", -100), "distance", "be between"),
    ("miles to kilometres", scaled("distance", 1.609), "distance", "mean to be between"),
    ("minutes to seconds", scaled("air_time", 60), "air_time", "be between"),
    ("-999 for null", lambda of: of.assign(arr_delay=of.arr_delay.fillna(-999)), "arr_delay", "condition"),
    ("origin and dest swapped", swapped("origin", "dest"), "origin", "be in set"),
    ("scheduled and actual departure swapped", swapped("dep_time", "sched_dep_time"), "sched_dep_time", "condition"),
    ("scheduled and actual arrival swapped", swapped("arr_time", "sched_arr_time"), "arr_delay", "condition"),
    ("the two delays swapped", swapped("dep_delay", "arr_delay"), "dep_delay", "condition"),
    ("hour and minute swapped", swapped("hour", "minute"), "hour", "be between"),
    ("the file twice", lambda of: pd.concat([of, of]), "-", "compound columns to be unique"),
    ("a row twice", lambda of: pd.concat([of, of.head(1)]), "-", "compound columns to be unique"),
    ("a time outside the batch", first_to("time_hour", pd.Timestamp("2013-03-05T10:00Z")), "time_hour", "be between"),
    ("all of another month", moved(days=28), "time_hour", "be between"),
    ("dates in the future", moved(days=7300), "time_hour", "be between"),
    ("local times written as UTC", moved(hours=-5), "hour", "condition"),
    ("half loaded", lambda of: of.head(20), "dest", "unique value count"),
]


@pytest.mark.parametrize(
    ("edit", "column", "rule"),
    cases(BY_THE_CONTRACT, "null in the key", "a level never seen", "miles to kilometres", "the file twice"),
)
def test_what_breaks_the_contract_stops_at_validate_raw(
    arrive: Arrive, february_rows: pa.Table, capsys: pytest.CaptureFixture[str], edit: Frame, column: str, rule: str
) -> None:
    rows = edit(february_rows.to_pandas(types_mapper=pd.ArrowDtype))
    arrive(written(pa.Table.from_pandas(rows, preserve_index=False)), "parquet")
    prepared = {path: path.read_bytes() for path in Path("data/prepared").rglob("*.parquet")}
    with pytest.raises(KibanError, match="flights 2013-02 did not pass validation"):
        take_and_validate()
    shown = " ".join(re.sub("[│\n]", " ", capsys.readouterr().err).split())
    for word in ("flights", "2013-02", column, rule):
        assert word in shown
    page = Path("reports/validation/raw/index.html").read_text()
    assert 'class="rejected">2013-02' in page
    assert 'class="passed">2013-01' in page
    assert {path: path.read_bytes() for path in prepared} == prepared


def shuffled(rows: pa.Table) -> pa.Table:
    order = list(range(rows.num_rows))
    random.Random(0).shuffle(order)
    return rows.take(order)


def narrow(rows: pa.Table) -> pa.Table:
    for name, kind in (("month", pa.int8()), ("distance", pa.int16()), ("flight", pa.uint32()), ("day", pa.float64())):
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(kind))
    return rows


def recoded(rows: pa.Table) -> pa.Table:
    rows = rows.set_column(1, "carrier", rows["carrier"].dictionary_encode())
    return rows.set_column(rows.column_names.index("dest"), "dest", rows["dest"].cast(pa.large_string()))


def elsewhere(rows: pa.Table) -> pa.Table:
    return rows.set_column(0, "time_hour", rows["time_hour"].cast(pa.timestamp("ms", tz="Asia/Tokyo")))


HARMLESS: list[tuple[str, str, Callable[[pa.Table, list[str]], bytes]]] = [
    ("row order", "parquet", lambda rows, of: written(shuffled(rows))),
    ("column order", "parquet", lambda rows, of: written(rows.select(sorted(rows.column_names)))),
    ("metadata", "parquet", lambda rows, of: written(rows.replace_schema_metadata({"by": "someone"}))),
    ("number width", "parquet", lambda rows, of: written(narrow(rows))),
    (
        "compression and row groups",
        "parquet",
        lambda rows, of: written(rows, compression="gzip", row_group_size=100, version="1.0"),
    ),
    ("dictionary and large text", "parquet", lambda rows, of: written(recoded(rows))),
    ("unit and zone of times", "parquet", lambda rows, of: written(elsewhere(rows))),
    ("csv", "csv", lambda rows, of: content(of)),
    (
        "quoted csv",
        "csv",
        lambda rows, of: content([",".join(f'"{value}"' for value in line.split(",")) for line in of]),
    ),
    ("byte order mark and carriage returns", "csv", lambda rows, of: "\r\n".join(of).encode("utf-8-sig")),
    (
        "offset instead of Z",
        "csv",
        lambda rows, of: content([re.sub(r"T(0[5-9]|1\d):00:00Z", r"T\1:00:00+00:00", line) for line in of]),
    ),
]


@pytest.mark.parametrize(("suffix", "make"), cases(HARMLESS, "row order", "number width", "csv"))
def test_what_is_harmless_passes_and_gives_the_same_bytes(
    arrive: Arrive, evaluated: Path, february: list[str], february_rows: pa.Table, suffix: str, make: Any
) -> None:
    arrive(make(february_rows, february), suffix)
    take_and_validate()
    assert files.sha256(RAW) == files.sha256(evaluated / RAW)
