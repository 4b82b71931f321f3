"""The key of a table without one: the hash of a row's values and, for rows that are equal, their number.

The target has no part in the hash: a row with a corrected target keeps its key. A null has none either, so that a
column that is added later does not change the rows from before.
"""

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from kiban.data.contract import ROW_HASH, Table

DIGITS = 16  # in hex: of a million rows two have the same hash once in 30 million tables
NOTHING: Mapping[str, int] = MappingProxyType({})
NUMBER = "-"  # before the number of a row, from the second equal one on


def with_hash(rows: pa.Table, contract: Table, earlier: Mapping[str, int] = NOTHING) -> pa.Table:
    """`rows`, in the contract's types, with the column ROW_HASH as their first.

    Rows that are equal but for their target are numbered in the order of the target, from the number of `earlier` rows
    with their hash on.
    """
    targets, hashes = targets_of(contract), hashes_of(rows, contract)
    order = pc.sort_indices(
        rows.append_column(ROW_HASH, hashes), sort_keys=[(name, "ascending") for name in [ROW_HASH, *targets]]
    )
    numbered: list[str] = [""] * len(order)
    before, number = None, 0
    for place, text in zip(order.to_pylist(), hashes.take(order).to_pylist(), strict=True):
        number = number + 1 if text == before else earlier.get(text, 0) + 1
        before = text
        numbered[place] = text if number == 1 else f"{text}{NUMBER}{number}"
    return rows.add_column(0, ROW_HASH, pa.array(numbered, pa.string()))


def targets_of(contract: Table) -> list[str]:
    """The columns that have no part in the hash, by which equal rows are numbered."""
    return [name for name, column in contract.columns.items() if column.role == "target"]


def hashes_of(rows: pa.Table, contract: Table) -> pa.Array:
    """The hash of each row, in the contract's types, without a number."""
    targets = targets_of(contract)
    return pa.array(_hashes(rows.drop_columns([name for name in targets if name in rows.column_names])), pa.string())


def without_number(hashes: pa.ChunkedArray) -> pa.ChunkedArray:
    """The hashes alone, which rows that are equal but for their target share."""
    return pc.utf8_slice_codeunits(hashes, 0, DIGITS)


def contents(rows: pa.Table, names: Sequence[str]) -> list[str]:
    """The hash of each row's values in the columns `names`: equal rows have equal ones."""
    return _hashes(rows.select(list(names)))


def _hashes(rows: pa.Table) -> list[str]:
    """The hash of each row's values that are not null, with the names of their columns."""
    texts = [pc.binary_join_element_wise(name, values.cast(pa.string()), "=") for name, values in _named(rows)]
    begin = pa.array([""] * rows.num_rows, pa.string())  # a row of nulls alone would be left out
    joined = pc.binary_join_element_wise(begin, *texts, "\x1f", null_handling="skip")
    return [hashlib.sha256(text.encode()).hexdigest()[:DIGITS] for text in joined.to_pylist()]


def _named(rows: pa.Table) -> list[tuple[str, pa.ChunkedArray]]:
    """The columns by name, so that their order does not matter."""
    return sorted(zip(rows.column_names, rows.columns, strict=True), key=lambda pair: pair[0])
