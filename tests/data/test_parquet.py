import random
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from slice import ROOT

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.data import contract, parquet
from kiban.data.contract import Column, Table, Type

FILE = Path("data/raw/flights/flights/2013-01.parquet")
FLIGHTS = contract.read_raw(ROOT / "conf/contract/flights/raw.yaml")["flights"]


@pytest.fixture
def rows(project: Path) -> pa.Table:
    return parquet.read(FILE)


def test_equal_rows_give_equal_bytes(rows: pa.Table, tmp_path: Path) -> None:
    order = list(range(rows.num_rows))
    random.Random(0).shuffle(order)
    other = rows.take(order).select(sorted(rows.column_names, reverse=True)).replace_schema_metadata({"by": "someone"})
    narrow = other.set_column(other.column_names.index("month"), "month", other["month"].cast("int8"))
    pq.write_table(narrow, tmp_path / "foreign.parquet", compression="gzip", row_group_size=100)
    again = parquet.conform(parquet.read(tmp_path / "foreign.parquet"), FLIGHTS, "test")
    parquet.write(again, tmp_path / "again.parquet")
    assert files.sha256(tmp_path / "again.parquet") == files.sha256(FILE)
    assert sorted(path.name for path in tmp_path.glob("*.par*")) == ["again.parquet", "foreign.parquet"]


@pytest.mark.parametrize(
    "read",
    [
        "parquet.read(path)",
        "parquet.read_bytes(path.read_bytes(), '')",
        "parquet.read_foreign(path.read_bytes(), '')",
    ],
)
def test_a_process_that_ends_at_once_after_reading_ends_well(project: Path, read: str) -> None:
    program = f"from pathlib import Path; from kiban.data import parquet; path = Path({str(FILE)!r}); {read}"
    for _ in range(8):  # about every second aborted
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_missing_and_extra_columns_are_named(rows: pa.Table) -> None:
    with pytest.raises(KibanError, match="where: column 'dest' is missing, column 'spare' is not in the contract"):
        parquet.conform(rows.drop_columns(["dest"]).append_column("spare", rows["year"]), FLIGHTS, "where")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("distance", pa.array(["100", "1O0"]), "column 'distance', row 2: '1O0' is not of type integer"),
        ("distance", pa.array([100.0, 100.5]), "column 'distance', row 2: 100.5 is not of type integer"),
        ("time_hour", pa.array(["2013-01-01T10:00:00Z", "yesterday"]), "row 2: 'yesterday' is not of type timestamp"),
        ("time_hour", pa.array([0, 0], pa.timestamp("us")), "times without a time zone"),
        ("time_hour", pa.array([1357034400, 1357034400]), "'time_hour', row 1: '<int64>' is not of type timestamp"),
    ],
)
def test_a_value_that_does_not_fit_is_named(rows: pa.Table, column: str, values: pa.Array, message: str) -> None:
    two = rows.slice(0, 2)
    with pytest.raises(KibanError, match=message):
        parquet.conform(two.set_column(two.column_names.index(column), column, values), FLIGHTS, "where")


def test_decimals_are_the_same_numbers_as_their_text() -> None:
    table = Table(description="", key=["id"], columns={"id": Column(type="number", description="")})
    texts = [f"{number / 100:.2f}" for number in range(-5000, 15000)]
    decimals = pa.array([Decimal(text) for text in texts])
    assert pa.types.is_decimal(decimals.type)
    of_text, of_decimals = (parquet.conform(pa.table({"id": of}), table, "where") for of in (pa.array(texts), decimals))
    assert of_decimals.equals(of_text)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("boolean", pa.array([1, 2])),
        ("boolean", pa.array([0.5])),
        ("date", pa.array([datetime(2013, 1, 1, 12, tzinfo=UTC)])),
        ("date", pa.array([5])),
        ("integer", pa.array([Decimal("5.50")])),
    ],
)
def test_a_cast_that_would_guess_is_refused(kind: Type, values: pa.Array) -> None:
    table = Table(description="", key=["id"], columns={"id": Column(type=kind, description="")})
    with pytest.raises(KibanError, match=f"column 'id', row .* is not of type {kind}"):
        parquet.conform(pa.table({"id": values}), table, "where")


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("boolean", pa.array([1, 0, None]), [None, True, False]),
        ("boolean", pa.array(["true", "0"]), [False, True]),
        ("integer", pa.array([Decimal("5.00")]), [5]),
        ("number", pa.array(["NaN", "1.5"]), [1.5, None]),
        ("number", pa.array([float("nan"), 1.5]), [1.5, None]),
        ("date", pa.array(["2013-01-31"]), [date(2013, 1, 31)]),
    ],
)
def test_what_fits_without_loss_is_taken(kind: Type, values: pa.Array, expected: list[object]) -> None:
    table = Table(description="", key=["id"], columns={"id": Column(type=kind, description="")})
    taken = parquet.conform(pa.table({"id": values}), table, "where")["id"].to_pylist()
    assert sorted(map(str, taken)) == sorted(map(str, expected))


TYPES = get_args(Type)
TEXT = {"1": ("string", "integer", "number", "boolean"), "true": ("string", "boolean"), "x": ("string",)}
TEXT |= {"1.0": ("string", "number"), "1e3": ("string", "number"), "0x10": ("string",), "inf": ("string",)}
TEXT |= {" 1": ("string",), "2013-01-01": ("string", "date"), "2013-01-01T00:00:00": ("string",)}
TEXT |= {"2013-01-01T00:00:00Z": ("string", "timestamp"), "2013-01-01T00:00:00.123456789Z": ("string",)}
TEXT |= {"NaN": ("string", "number"), "10000-01-01": ("string",), "": TYPES}
TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()))
MOMENT = datetime(2013, 1, 1, tzinfo=UTC)
# Every kind of Arrow's: a value, and the types of a contract that take it.
PAIRS: list[tuple[pa.Array, tuple[str, ...]]] = [
    *((pa.array([text]).cast(kind), taken) for text, taken in TEXT.items() for kind in TEXTS),
    *(
        (pa.array([1], kind), ("string", "integer", "number", "boolean"))
        for kind in (pa.int8(), pa.uint16(), pa.int64())
    ),
    (pa.array([2]), ("string", "integer", "number")),
    (pa.array([2**53 + 1]), ("string", "integer")),
    (pa.array([2**64 - 1], pa.uint64()), ("string",)),
    *((pa.array([1.0], kind), ("string", "integer", "number")) for kind in (pa.float16(), pa.float32(), pa.float64())),
    (pa.array([1.5]), ("string", "number")),
    (pa.array([float("nan")]), ("string", "integer", "number")),
    (pa.array([float("inf")]), ("string",)),
    (pa.array([2.0**63]), ("string", "number")),
    (pa.array([Decimal("1.0")]), ("string", "integer", "number")),
    (pa.array([Decimal("0.1")]), ("string", "number")),
    (pa.array([True]), ("string", "integer", "number", "boolean")),
    *((pa.array([MOMENT], pa.timestamp(unit, "UTC")), ("string", "timestamp")) for unit in ("s", "ms", "us", "ns")),
    (pa.array([MOMENT], pa.timestamp("us", "America/New_York")), ("string", "timestamp")),
    (pa.array([1], pa.timestamp("ns", "UTC")), ("string",)),
    (pa.array([2**60], pa.timestamp("ms", "UTC")), ()),
    (pa.array([2_534_023_007_990], pa.timestamp("s", "UTC")), ()),
    (pa.array([-(2**62)], pa.timestamp("us", "UTC")), ()),
    *((pa.array([date(2013, 1, 1)], kind), ("string", "date")) for kind in (pa.date32(), pa.date64())),
    (pa.array([2**30], pa.int32()).cast(pa.date32()), ()),
    (pa.array([time(1, 2)]), ("string",)),
    (pa.array([timedelta(1)]), ()),
    (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), ()),
    (pa.array([b"1"]), ("string",)),
    (pa.array([b"\xff"]), ()),
    (pa.array([[1]]), ()),
    (pa.array([{"a": 1}]), ()),
    (pa.nulls(1), TYPES),
]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("values", "taken"), PAIRS, ids=lambda each: str(getattr(each, "type", "")))
def test_every_kind_of_value_is_taken_or_refused(values: pa.Array, taken: tuple[str, ...], kind: Type) -> None:
    column = Column(type=kind, description="", nullable=True)
    table = Table(description="", key=["id"], columns={"id": Column(type="integer", description=""), "v": column})
    rows = pa.table({"id": [1, 2], "v": pa.chunked_array([pa.nulls(1, values.type), values])})
    if kind in taken:
        assert parquet.conform(rows, table, "where")["v"].type == parquet.ARROW_TYPES[kind]
        parquet.conform(rows, table, "where")["v"].to_pylist()
    else:
        with pytest.raises(KibanError, match=f"where: column 'v', row [12]: .* is not of type {kind}"):
            parquet.conform(rows, table, "where")


def test_a_snapshot_of_another_type_than_the_contract_is_named(rows: pa.Table) -> None:
    parquet.check_types(rows, FLIGHTS, "flights 2013-01")
    columns = FLIGHTS.columns
    for name, kind in {"distance": "string", "dest": "integer", "time_hour": "date"}.items():
        edited = columns | {name: columns[name].model_copy(update={"type": kind})}
        with pytest.raises(KibanError, match=f"flights 2013-01: column {name} is of type .* {kind} in the contract"):
            parquet.check_types(rows, FLIGHTS.model_copy(update={"columns": edited}), "flights 2013-01")
    widened = columns | {"flight": columns["flight"].model_copy(update={"type": "number"})}
    parquet.check_types(rows, FLIGHTS.model_copy(update={"columns": widened}), "flights 2013-01")


def test_a_file_that_is_missing_or_truncated_is_named(rows: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(KibanError, match=r"absent\.parquet is missing"):
        parquet.read(tmp_path / "absent.parquet")
    parquet.write(rows, tmp_path / "whole.parquet")
    (tmp_path / "half.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:1000])
    with pytest.raises(KibanError, match=r"half\.parquet is not a whole Parquet file"):
        parquet.read(tmp_path / "half.parquet")
