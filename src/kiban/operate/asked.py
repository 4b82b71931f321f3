"""What was asked and answered, read from the prediction log: one row a prediction."""

import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from kiban.data.contract import Column, Table
from kiban.data.parquet import ARROW_TYPES
from kiban.request import logged
from kiban.servable.columns import TIMES, moment
from kiban.servable.reference import ANSWER, answers_of

TIME = pa.timestamp("us", tz="UTC")
LOGGED_AT, MODEL, SHARE, LINE, RECORD = "\x1flogged at", "\x1fmodel", "\x1fshare", "\x1fline", "\x1frecord"
"""The columns whose names no contract has: when a prediction was logged, the id of the model, the share of the requests
that were drawn for the log, the hash of the line, and the number of the record in the line. The
answers are in columns that begin with ANSWER."""
LATE, PLACE = "\x1flate", "\x1fplace"


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Request(_Model):
    records: list[dict[str, Any]]


class _Answer(_Model):
    model_id: str
    predictions: list[dict[str, Any]]


class Refused(_Model):
    """Requests that were refused for one reason."""

    model_id: str
    status: int
    fields: list[str]
    requests: int


class _Line(_Model):
    time: datetime
    request: _Request | None = None
    answer: _Answer | None = None
    share: float = 1.0
    refused: list[Refused] = []


class Asked(NamedTuple):
    """The log. `rows` are the predictions, with the columns of the contract's features and keys, null where a caller
    gave none. `requests` are the number of requests that were answered by the time when they were logged, corrected
    for the share that was drawn, and `refused` those that were not. `damaged` lines were left out. `hosts` says of
    each host when it wrote its last line.
    """

    rows: pa.Table
    requests: list[tuple[datetime, float]]
    refused: list[tuple[datetime, Refused]]
    damaged: int
    hosts: dict[str, datetime]


def read(folders: Sequence[Path], table: Table) -> Asked:
    """The log in some folders, as the prepared `table` of a model types it. A folder that is missing is an empty log.

    A file that is in several of them is read once.
    """
    requests: list[tuple[datetime, float]] = []
    refused: list[tuple[datetime, Refused]] = []
    parts = [schema(table).empty_table()]
    damaged = 0
    hosts: dict[str, datetime] = {}
    for name, path in sorted(_files(folders).items()):
        host, lines = logged.host(name), list[tuple[int, _Line]]()
        for content in _lines(path):
            try:
                line = _Line.model_validate_json(content)
            except ValidationError:  # a kill has cut it off
                damaged += 1
                continue
            hosts[host] = max(line.time, hosts.get(host, line.time))
            refused += [(line.time, each) for each in line.refused]
            if line.request and line.answer:
                requests.append((line.time, 1 / line.share))
                lines.append((line_hash(content), line))
        parts.append(_rows(lines, table))
    return Asked(pa.concat_tables(parts), requests, refused, damaged, hosts)


def last_records(folders: Sequence[Path], most: int) -> list[dict[str, Any]]:
    """The records that were asked about last, as JSON has them; the newest come first."""
    records: list[dict[str, Any]] = []
    for _, path in sorted(_files(folders).items(), reverse=True):
        for content in reversed([*_lines(path)]):
            try:
                line = _Line.model_validate_json(content)
            except ValidationError:
                continue
            records += line.request.records if line.request else []
            if len(records) >= most:
                return records[:most]
    return records


def _files(folders: Sequence[Path]) -> dict[str, Path]:
    """The files by their names; a copy has that of the file."""
    copies = {path.name.removesuffix(logged.COPY): path for folder in folders for path in folder.glob(_COPIES)}
    return copies | {path.name: path for folder in folders for path in folder.glob(logged.NAMES)}


_COPIES = logged.NAMES + logged.COPY


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.name.endswith(logged.COPY) else path.open("rb") as file:
            yield from file
    except FileNotFoundError:  # it has just been deleted to make room
        return
    except (EOFError, OSError, zlib.error):
        yield b""  # a damaged line


def schema(table: Table) -> pa.Schema:
    """The columns of `Asked.rows`."""
    fields = [(LOGGED_AT, TIME), (MODEL, pa.string()), (SHARE, pa.float64()), (LINE, pa.int64()), (RECORD, pa.int32())]
    fields += [(name, ARROW_TYPES[column.type]) for name, column in _columns(table).items()]
    return pa.schema([*fields, *((name, pa.float64()) for name in answers_of(table))])


def _columns(table: Table) -> dict[str, Column]:
    return {**table.features(), **table.keys()}


def _rows(lines: Sequence[tuple[int, _Line]], table: Table) -> pa.Table:
    wanted = schema(table)
    pairs = [
        (line, hashed, number, record, prediction)
        for hashed, line in lines
        if line.request and line.answer and len(line.request.records) == len(line.answer.predictions)
        for number, (record, prediction) in enumerate(zip(line.request.records, line.answer.predictions, strict=True))
    ]
    records = [record for *_, record, _ in pairs]
    columns: dict[str, Any] = {
        LOGGED_AT: pa.array([line.time for line, *_ in pairs], TIME),
        MODEL: [line.answer.model_id if line.answer else "" for line, *_ in pairs],
        SHARE: [line.share for line, *_ in pairs],
        LINE: pa.array([hashed for _, hashed, *_ in pairs], pa.int64()),
        RECORD: pa.array([number for _, _, number, *_ in pairs], pa.int32()),
    }
    for name, column in _columns(table).items():
        columns[name] = _values([record.get(name) for record in records], column)
    answers = [_answer(prediction) for *_, prediction in pairs]
    for name in answers_of(table):
        columns[name] = pa.array([answer.get(name) for answer in answers], pa.float64())
    return pa.table(columns, schema=wanted)


def line_hash(line: bytes) -> int:
    """A number that no other line has, because it has the time to the microsecond."""
    return int.from_bytes(hashlib.blake2b(line.rstrip(b"\n"), digest_size=8).digest(), "big", signed=True)


def _answer(prediction: Mapping[str, Any]) -> dict[str, float]:
    """The answer by name of its column, as `answers_of` has it."""
    match prediction:
        case {"probabilities": dict(levels)}:
            return {f"{ANSWER} {level}": share for level, share in levels.items()}
        case {"probability": value} | {"value": value}:
            return {ANSWER: value}
    return {}


def _values(values: Sequence[Any], column: Column) -> pa.Array:
    """Values of JSON in the type of a column; what is of another type, as with an older model, is null."""
    kind = ARROW_TYPES[column.type]
    if column.type in TIMES:
        return pa.array([_moment(value, column) for value in values], kind)
    if column.type == "integer":  # not by way of a float: a key may have more digits
        return pa.array([_whole(value) for value in values], kind)
    if column.type == "number":
        return pa.array([float(value) if type(value) in (int, float) else None for value in values], kind)
    expected = bool if column.type == "boolean" else str
    return pa.array([value if isinstance(value, expected) else None for value in values], kind)


def _whole(value: Any) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and abs(value) < 2**63 else None


def _moment(value: Any, column: Column) -> Any:
    try:
        return moment(value, column) if isinstance(value, str) else None
    except ValueError:
        return None


EARLIEST, LATEST = (pa.scalar(datetime(year, 1, 1, tzinfo=UTC), TIME) for year in (1900, 2200))
"""Times that are taken for such: year 1 is what some programs send for none."""


def when(rows: pa.Table, table: Table) -> pa.ChunkedArray:
    """The time of each prediction: that of its record, or else that at which it was logged."""
    logged_at = rows[LOGGED_AT]
    if table.time is None:
        return logged_at
    times = rows[table.time]
    is_time = pc.and_(pc.greater_equal(times, EARLIEST), pc.less(times, LATEST))
    return pc.if_else(pc.fill_null(is_time, False), times, logged_at)


def one_for_each_key(rows: pa.Table, table: Table) -> tuple[pa.Table, Counter[str]]:
    """One prediction for each key: the last that was logged before the time of the record, or else the last of all.

    Also how many others there are, by the reason why they do not count, and how many of those that count were logged
    after the time of their record, as those of a table that was scored later. A prediction without a whole key does
    not count.
    """
    said: Counter[str] = Counter()
    if any(name not in rows.column_names for name in table.key):
        return rows.slice(0, 0), Counter(
            {"cannot be measured: the table has no key that a caller could give": rows.num_rows}
        )
    is_whole = pa.chunked_array([pa.array([True] * rows.num_rows, pa.bool_())])
    for name in table.key:
        is_whole = pc.and_(is_whole, pc.is_valid(rows[name]))
    whole = rows.filter(is_whole)
    said["without a whole key"] = rows.num_rows - whole.num_rows
    is_late = pa.array([False] * whole.num_rows, pa.bool_())
    if table.time is not None:
        is_late = pc.fill_null(pc.greater(whole[LOGGED_AT], whole[table.time]), True)
    ordered = whole.append_column(LATE, is_late).sort_by([(LATE, "descending"), (LOGGED_AT, "ascending")])
    ordered = ordered.append_column(PLACE, pa.array(range(ordered.num_rows), pa.int64()))
    last = ordered.group_by(table.key).aggregate([(PLACE, "max")])[f"{PLACE}_max"].combine_chunks()
    kept = ordered.take(last.take(pc.sort_indices(last)))
    said["asked again"] = whole.num_rows - kept.num_rows
    said["logged after the time of the record"] = pc.sum(kept[LATE]).as_py() or 0
    return kept.drop_columns([LATE, PLACE]), +said
