"""Predictions for the pieces of a table, on all cores, in the order of the pieces."""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from kiban.core.errors import KibanError
from kiban.data.parquet import ARROW_TYPES
from kiban.request import logged
from kiban.request.predictions import ANSWERS
from kiban.request.schema import Schema
from kiban.score.check import check, check_columns, keys
from kiban.score.read import Input, Piece, Rejected
from kiban.servable.columns import from_arrow
from kiban.servable.load import Servable
from kiban.tasks.metric import Scores

PREFIX = "predicted "
"""Before the names of the columns that scoring adds, where the table has one of these names."""


class Scored(NamedTuple):
    """A scored piece: `rows` of the output, their number by label, the rejected rows, the number of unusual values by
    feature, how much of the input has been read, and the lines for the prediction log, if that is asked for.
    """

    rows: pa.Table
    labels: Counter[str]
    rejected: list[Rejected]
    unusual: Counter[str]
    done: int
    logged: bytes


def output_schema(table: Input, servable: Servable, where: str, is_csv: bool) -> pa.Schema:
    """The schema of the output: the columns of the input, with the features in the contract's types, and what the model
    adds, with PREFIX if the input has a column of such a name.

    Raises KibanError if the input, which messages call `where`, has these names too, lacks a required feature, or has a
    column that CSV cannot represent.
    """
    features = servable.contract.features()
    check_columns(table.schema, features, table.is_text, where)
    added = _added(servable, np.zeros((0, len(servable.target.levels or [])) if _is_multiclass(servable) else 0)).schema
    if set(added.names) & set(table.schema.names):
        added = pa.schema([field.with_name(PREFIX + field.name) for field in added])
    for name in added.names:
        if name in table.schema.names:
            raise KibanError(
                f"{where} has a column {name!r}, which the output gets from the model: rename it, or use the file from "
                "before it was scored"
            )
    for field in table.schema:
        if is_csv and not _fits_csv(field.type):
            raise KibanError(
                f"{where}: column {field.name!r} is of type {field.type}, which CSV cannot represent: use Parquet"
            )
    fields = [(field.name, _plain(field.type)) for field in table.schema]
    columns = [(name, ARROW_TYPES[features[name].type] if name in features else kind) for name, kind in fields]
    return pa.schema([*columns, *added])


def _is_multiclass(servable: Servable) -> bool:
    return servable.task.name == "multiclass"


def _added(servable: Servable, scores: Scores) -> pa.Table:
    """The columns that scoring adds to a table."""
    columns = ANSWERS[servable.task.name].columns(servable, scores)
    arrays = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    if "label" in arrays and _is_multiclass(servable):
        arrays["label"] = arrays["label"].cast(pa.string())
    return pa.table({**arrays, "model_id": pa.array([servable.model_id] * len(scores), pa.string())})


def _fits_csv(kind: pa.DataType) -> bool:
    try:
        pyarrow.csv.write_csv(pa.table({"": pa.array([], kind)}), pa.BufferOutputStream())
    except pa.ArrowException:
        return False
    return True


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary-encoded column, which cannot be written as CSV; other types unchanged."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def scored(table: Input, servable: Servable, schema: pa.Schema, run: str | None = None) -> Iterator[Scored]:
    """Score the pieces of the table on all cores. Only about one piece for each core is in memory.

    `run` is the id of this run in the prediction log, or None if nothing is logged.
    """
    row_schema = Schema(servable.contract.features(), 1, servable.contract.keys())
    workers = joblib.cpu_count()
    waiting: deque[Future[Scored]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for piece in table.pieces:
            waiting.append(pool.submit(_scored, piece, table, servable, row_schema, schema, run))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _scored(
    piece: Piece, table: Input, servable: Servable, row_schema: Schema, schema: pa.Schema, run: str | None
) -> Scored:
    checked = check(piece.rows, row_schema, table.is_text)
    scores = servable.score(from_arrow(checked.rows, row_schema.features))
    added = _added(servable, scores)
    accepted = piece.rows.filter(checked.accepted)
    columns = {
        name: checked.rows[name] if name in row_schema.features else accepted[name] for name in accepted.column_names
    }
    rows = pa.table([*columns.values(), *added.columns], names=schema.names).cast(schema)
    labels: Counter[str] = Counter()
    if "label" in added.column_names:
        pairs = pc.value_counts(added["label"].cast(pa.string())).to_pylist()
        labels.update({pair["values"]: pair["counts"] for pair in pairs})
    indices = sorted(checked.rejected)
    values = zip(*(_texts(column.take(indices)) for column in piece.rows.columns), strict=True) if indices else ()
    rejected = [
        Rejected(piece.numbers[index], checked.rejected[index], list(row))
        for index, row in zip(indices, values, strict=True)
    ]
    lines = b"" if run is None else b"".join(_lines(servable, row_schema, checked.rows, accepted, scores, table, run))
    return Scored(rows, labels, sorted(rejected + piece.malformed), checked.unusual, piece.done, lines)


def _lines(
    servable: Servable,
    row_schema: Schema,
    rows: pa.Table,
    accepted: pa.Table,
    scores: Scores,
    table: Input,
    run: str,
) -> Iterator[bytes]:
    """The lines of the prediction log about scored rows, with the keys that their table has."""
    own = keys(accepted, row_schema.keys, table.is_text)
    records = [{**record, **key} for record, key in zip(rows.to_pylist(), own, strict=True)]
    personal = {name for name, column in row_schema.columns.items() if column.personal}
    predictions = ANSWERS[servable.task.name].predictions(servable, scores)
    yield from logged.answered_in_parts(datetime.now(UTC), run, servable.model_id, records, predictions, personal)


def _texts(values: pa.ChunkedArray) -> list[str]:
    """The values as CSV writes them. Arrow casts them: some of its times are outside of Python's range."""
    try:
        return values.cast(pa.string()).fill_null("").to_pylist()
    except pa.ArrowException:  # a nested type, or another one without a cast to text
        return ["" if value is None else str(value) for value in values.to_pylist()]
