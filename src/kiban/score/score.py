"""Predictions for the pieces of a table, several at a time, in their order."""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.csv

from kiban.core.errors import KibanError
from kiban.data.parquet import ARROW_TYPES
from kiban.request.schema import Schema
from kiban.score.check import check, check_columns
from kiban.score.read import Input, Piece, Rejected
from kiban.servable.columns import from_arrow
from kiban.servable.load import Servable

ADDED = {"probability": pa.float64(), "label": pa.bool_(), "model_id": pa.string()}
"""The columns that a table gets."""


class Scored(NamedTuple):
    """A piece: `rows` of the output, of which `positive` are labelled true, what was rejected, how many values are
    unusual, and how far the input is read.
    """

    rows: pa.Table
    positive: int
    rejected: list[Rejected]
    unusual: Counter[str]
    done: int


def output_schema(table: Input, servable: Servable, where: str, is_csv: bool) -> pa.Schema:
    """The columns of the output: the input's, the model's in the contract's types, and ADDED.

    KibanError if the input, called `where`, has a column of that name, or not what the model requires, or one that
    CSV cannot have.
    """
    features = servable.contract.features()
    check_columns(table.schema, features, table.is_text, where)
    for name in ADDED:
        if name in table.schema.names:
            raise KibanError(
                f"{where} has a column {name!r}, which the output gets from the model: rename it, or give the file as "
                "it was before it was scored"
            )
    for field in table.schema:
        if is_csv and not _fits_csv(field.type):
            raise KibanError(f"{where}: column {field.name!r} is of type {field.type}, which only Parquet can have")
    fields = [(field.name, _plain(field.type)) for field in table.schema]
    kept = [(name, ARROW_TYPES[features[name].type] if name in features else kind) for name, kind in fields]
    return pa.schema([*kept, *ADDED.items()])


def _fits_csv(kind: pa.DataType) -> bool:
    try:
        pyarrow.csv.write_csv(pa.table({"": pa.array([], kind)}), pa.BufferOutputStream())
    except pa.ArrowException:
        return False
    return True


def _plain(kind: pa.DataType) -> pa.DataType:
    """CSV cannot be written of dictionaries."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def scored(table: Input, servable: Servable, schema: pa.Schema) -> Iterator[Scored]:
    """Score the pieces of the table on all cores; no more pieces are in memory than they work on."""
    of_rows = Schema(servable.contract.features(), max_records=1)
    workers = joblib.cpu_count()
    waiting: deque[Future[Scored]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for piece in table.pieces:
            waiting.append(pool.submit(_scored, piece, table, servable, of_rows, schema))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _scored(piece: Piece, table: Input, servable: Servable, of_rows: Schema, schema: pa.Schema) -> Scored:
    checked = check(piece.rows, of_rows, table.is_text)
    scores = servable.score(from_arrow(checked.rows, of_rows.features))
    labels = servable.labels(scores)
    added = {
        "probability": scores,
        "label": labels,
        "model_id": np.full(len(scores), servable.model_id, dtype=object),
    }
    kept = piece.rows.filter(checked.accepted)
    columns = {name: checked.rows[name] if name in of_rows.features else kept[name] for name in kept.column_names}
    rows = pa.table({**columns, **added}).cast(schema)
    places = sorted(checked.rejected)
    values = zip(*(_texts(column.take(places)) for column in piece.rows.columns), strict=True) if places else ()
    rejected = [
        Rejected(piece.numbers[place], checked.rejected[place], list(row))
        for place, row in zip(places, values, strict=True)
    ]
    return Scored(rows, int(labels.sum()), sorted(rejected + piece.malformed), checked.unusual, piece.done)


def _texts(values: pa.ChunkedArray) -> list[str]:
    """The values as CSV has them; Python has no time as far as some that Arrow has."""
    try:
        return values.cast(pa.string()).fill_null("").to_pylist()
    except pa.ArrowException:  # nested, or another type that is no text
        return ["" if value is None else str(value) for value in values.to_pylist()]
