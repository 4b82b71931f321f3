import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from slice import ROOT

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.data import contract, ordering, parquet, pieces
from kiban.data.contract import ROW_HASH, Table

FILE = Path("data/raw/flights/flights/2013-01.parquet")
FLIGHTS = contract.read_raw(ROOT / "conf/contract/flights/raw.yaml")["flights"]
WITHOUT_KEY = Table.model_validate(
    {
        "description": "x",
        "key": [ROW_HASH],
        "columns": {
            ROW_HASH: {"type": "string", "role": "info", "description": "x"},
            "carrier": {"type": "string", "description": "x"},
            "late": {"type": "boolean", "role": "target", "description": "x"},
        },
    }
)


@pytest.fixture
def rows(project: Path) -> pa.Table:
    return parquet.read(FILE)


def shuffled(rows: pa.Table) -> pa.Table:
    order = list(range(rows.num_rows))
    random.Random(0).shuffle(order)
    return rows.take(order)


def cut(rows: pa.Table, at: int) -> Iterator[pa.Table]:
    return (rows.slice(start, at) for start in range(0, rows.num_rows, at))


def test_a_file_has_the_same_bytes_whether_it_is_written_at_once_or_in_pieces(
    rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP", 1000)
    for name, part in {"all": rows, "none": rows.slice(0, 0), "whole groups": rows.slice(0, 2000)}.items():
        parquet.write(part, tmp_path / f"{name}.parquet")
        assert pieces.write(cut(part, 333), part.schema, tmp_path / "pieces.parquet") == part.num_rows
        assert files.sha256(tmp_path / "pieces.parquet") == files.sha256(tmp_path / f"{name}.parquet"), name
    assert pq.ParquetFile(tmp_path / "all.parquet").metadata.num_row_groups == -(-rows.num_rows // 1000)


@pytest.mark.parametrize("has_key", [True, False])
def test_a_large_table_is_in_the_order_of_a_small_one(
    rows: pa.Table, has_key: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = FLIGHTS if has_key else WITHOUT_KEY
    if not has_key:  # few distinct rows, so that many are numbered, and nulls in each column
        late = pc.if_else(pc.equal(rows["minute"], 0), None, pc.greater(rows["arr_delay"], 0))
        rows = pa.table({"carrier": pc.if_else(pc.equal(rows["hour"], 7), None, rows["carrier"]), "late": late})
    foreign = shuffled(pa.concat_tables([rows, rows.slice(0, 50)]))  # with rows of one key
    at_once = parquet.conform(foreign, table, "here")
    monkeypatch.setattr(pieces, "LARGE", 500)
    in_pieces = ordering.conformed(cut(foreign, 200), table, "here", tmp_path)
    assert pa.concat_tables(in_pieces).combine_chunks().equals(at_once)


def test_a_wrong_value_of_a_large_table_is_named_by_its_row(
    rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = rows["distance"].cast(pa.string()).to_pylist()
    texts[1234] = "far"
    wrong = rows.set_column(rows.column_names.index("distance"), "distance", pa.array(texts))
    with pytest.raises(KibanError) as at_once:
        parquet.conform(wrong, FLIGHTS, "here")
    monkeypatch.setattr(pieces, "LARGE", 500)
    with pytest.raises(KibanError, match="column 'distance', row 1235: 'far'") as in_pieces:
        list(ordering.conformed(cut(wrong, 200), FLIGHTS, "here", tmp_path))
    assert str(in_pieces.value) == str(at_once.value)


@pytest.mark.parametrize("large", [500, pieces.LARGE])
def test_a_text_does_not_depend_on_the_rows_beside_it(
    large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "LARGE", large)
    columns = {"id": {"type": "integer", "description": "x"}}
    columns["price"] = {"type": "string", "description": "x", "nullable": True}
    table = Table.model_validate({"description": "x", "key": ["id"], "columns": columns})

    def conformed(*prices: list[Decimal | None]) -> pa.Table:
        parts = [
            pa.table({"id": range(400 * number, 400 * number + len(part)), "price": part})
            for number, part in enumerate(prices)
        ]
        return pa.concat_tables(ordering.conformed(parts, table, "here", tmp_path))

    cents, nothing = [Decimal("1.50")] * 400, [None] * 400
    assert conformed(cents, nothing, cents)["price"].drop_null().unique().to_pylist() == ["1.50"]
    message = (
        r"column 'price' is of type decimal128\(3, 2\) in some rows and decimal128\(2, 1\) in others: make it text"
    )
    with pytest.raises(KibanError, match=message):
        conformed(cents, nothing, [Decimal("1.5")] * 400)


def test_what_does_not_fit_or_is_empty_is_no_traceback(
    rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(ordering.conformed(iter([]), FLIGHTS, "here", tmp_path)) == []
    monkeypatch.setattr(pieces, "LARGE", 500)
    monkeypatch.setenv("KIBAN_MEMORY", "2MB")
    with pytest.raises(
        KibanError, match="here: the rows cannot be sorted: they do not fit into the memory .* set KIBAN_MEMORY"
    ):
        list(ordering.conformed(cut(rows, 200), FLIGHTS, "here", tmp_path))
