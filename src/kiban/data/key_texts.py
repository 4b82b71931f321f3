"""The values of a row's key as one text, equal for equal values of any type in which a file may hold them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

SEPARATOR = "\x1f"
TIME = "%Y-%m-%dT%H:%M:%S"
LIKE_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d"


def key_texts(rows: pa.Table, columns: Sequence[str]) -> Iterator[str]:
    """The text of each row's values in some columns."""
    texts = [_texts(rows[name]).fill_null("").to_pylist() for name in columns]
    return (SEPARATOR.join(each) for each in zip(*texts, strict=True))


def _texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(values.type):
        return pc.strftime(values.cast(pa.timestamp("us", "UTC")), TIME)
    if pa.types.is_date(values.type):
        return values.cast(pa.date32()).cast(pa.string())
    if pa.types.is_floating(values.type):
        return pa.chunked_array(
            [[None if value is None else text_of(value) for value in values.to_pylist()]], pa.string()
        )
    if pa.types.is_dictionary(values.type):
        return _texts(values.cast(values.type.value_type))
    texts = values.cast(pa.string())
    if pc.any(pc.match_substring_regex(texts, LIKE_TIME)).as_py():
        return pa.chunked_array([[None if text is None else text_of(text) for text in texts.to_pylist()]], pa.string())
    return texts


def text_of(value: Any) -> str:
    """The text of one value, as JSON or Python has it; a time in ISO 8601 with its offset."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):
        return pc.strftime(pa.scalar(value.astimezone(UTC), pa.timestamp("us", "UTC")), TIME).as_py()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return _as_time(value) or value
    return "" if value is None else str(value)


def _as_time(text: str) -> str | None:
    """The text of a time that is written with its offset, or None if it is none."""
    if not re.match(LIKE_TIME, text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else text_of(moment)


def key_text(record: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The text of the values of a record in some columns; of one that it lacks, an empty text."""
    return SEPARATOR.join(text_of(record.get(name)) for name in columns)
