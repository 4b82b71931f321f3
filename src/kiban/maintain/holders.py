"""What holds the key of somebody who is to be forgotten: in tables, in lines of JSON, and in any text."""

import gzip
import io
import json
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.data.contract import Table
from kiban.data.key_texts import LIKE_TIME, SEPARATOR, key_text, key_texts, text_of
from kiban.data.written import WrittenFile
from kiban.operate.asked import line_hash
from kiban.sources import given

MAGIC = b"PAR1"
WORD = re.compile(r"[\w-]+")
MONTH = re.compile(r"\b((?:19|20)\d\d-(?:0[1-9]|1[0-2]))(?:\b|-\d\d)")


class Holding(ABC):
    """What is to be forgotten, and where it is."""

    @abstractmethod
    def rows(self, rows: pa.Table) -> pa.Array:
        """Which of the rows are to be forgotten. Structs are looked into."""

    @abstractmethod
    def record(self, record: Mapping[str, Any]) -> bool:
        """Whether a record of JSON is to be forgotten."""

    @abstractmethod
    def text(self, text: str) -> bool:
        """Whether a text holds something of it."""

    def content(self, content: bytes) -> bool:
        """Whether a file holds something of it: a table, a log of predictions, or a page that quotes rows.

        Anything else, such as a model, holds no row.
        """
        if content[:4] == MAGIC:
            return bool(pc.any(self.rows(table(content))).as_py())
        content = unpacked(content)
        if _is_page(content):
            return self.text(content.decode("utf-8", "replace"))
        return any(self.record(record) for line in content.splitlines() for record in _records(line))

    def without(self, content: bytes) -> tuple[bytes, set[int]]:
        """The lines of a log without what is to be forgotten, and the hashes of the lines that were changed."""
        kept, changed = [], set()
        for line in content.splitlines(keepends=True):
            records = _records(line)
            places = [place for place, record in enumerate(records) if not self.record(record)]
            if len(places) == len(records):
                kept.append(line)
                continue
            changed.add(line_hash(line))
            if places:
                told = json.loads(line)
                told["request"]["records"] = [records[place] for place in places]
                told["answer"]["predictions"] = [told["answer"]["predictions"][place] for place in places]
                kept.append(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        return b"".join(kept), changed


@dataclass(frozen=True)
class Keys(Holding):
    """Those to be forgotten: by each choice of columns, the texts of their values, as `data.key_texts` writes them.

    A person may be one row of a raw table, and several of the prepared one, which has other columns.
    """

    texts: Mapping[tuple[str, ...], frozenset[str]]

    def rows(self, rows: pa.Table) -> pa.Array:
        flat = _flat(rows)
        mask = pa.array([False] * rows.num_rows, pa.bool_())
        for columns, texts in self.texts.items():
            if set(columns) <= set(flat.column_names):
                present = key_texts(flat, columns)
                mask = pc.or_(mask, pa.array([text in texts for text in present], pa.bool_()))
        return mask

    def also(self, rows: pa.Table) -> "Keys":
        """These, and the values of all columns of some rows."""
        columns = tuple(rows.column_names)
        return Keys({**self.texts, columns: self.texts.get(columns, frozenset()) | {*key_texts(rows, columns)}})

    def record(self, record: Mapping[str, Any]) -> bool:
        return any(
            all(name in record for name in columns) and key_text(record, columns) in texts
            for columns, texts in self.texts.items()
        )

    def text(self, text: str) -> bool:
        """Whether a text holds all values of a key as words, wherever they stand. Of a time its day suffices."""
        words = set(WORD.findall(text))
        return any(all(self._is_in(value, text, words) for value in each.split(SEPARATOR)) for each in self._every)

    @staticmethod
    def _is_in(value: str, text: str, words: set[str]) -> bool:
        if re.match(LIKE_TIME, value):
            return value[:10] in text
        return value in words if WORD.fullmatch(value) else value in text

    @property
    def _every(self) -> Iterator[str]:
        return (each for texts in self.texts.values() for each in texts)


class Aged(NamedTuple):
    """The rows of a table, which has these columns, whose `time` is before `cut`."""

    columns: frozenset[str]
    time: str
    cut: datetime


@dataclass(frozen=True)
class Older(Holding):
    """The rows of tables that are kept for so long and no longer."""

    tables: tuple[Aged, ...]

    def rows(self, rows: pa.Table) -> pa.Array:
        flat = _flat(rows)
        mask = pa.array([False] * rows.num_rows, pa.bool_())
        for each in self.tables:
            if each.columns <= set(flat.column_names) and pa.types.is_timestamp(flat[each.time].type):
                times = flat[each.time].cast(pa.timestamp("us", "UTC"))
                is_old = pc.less(times, pa.scalar(each.cut, pa.timestamp("us", "UTC")))
                mask = pc.or_(mask, pc.fill_null(is_old, False).combine_chunks())
        return mask

    def record(self, record: Mapping[str, Any]) -> bool:
        return any(
            text_of(record[each.time]) < text_of(each.cut)
            for each in self.tables
            if each.columns <= record.keys() and record[each.time] is not None
        )

    def text(self, text: str) -> bool:
        """Whether a text names a month or a day before all cuts, as a page does of a batch that it quotes."""
        earliest = min(f"{each.cut:%Y-%m}" for each in self.tables)
        return any(month < earliest for month in MONTH.findall(text))


def _flat(rows: pa.Table) -> pa.Table:
    """The rows with the fields of structs as columns, which count where another column has the same name."""
    columns = {field.name: rows[field.name] for field in rows.schema if not pa.types.is_struct(field.type)}
    for field in rows.schema:
        if pa.types.is_struct(field.type):
            inner = rows.select([field.name]).flatten()
            columns |= {name.removeprefix(f"{field.name}."): inner[name] for name in inner.column_names}
    return pa.table(columns)


def unpacked(content: bytes) -> bytes:
    """The content of a file that is compressed by gzip, or as it is; nothing of one that is damaged."""
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return b""


def _is_page(content: bytes) -> bool:
    """Whether it is a page, or the verdict that it is made of: they quote values that the contract rejects."""
    start = content[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return True
    try:
        told = json.loads(content) if start.startswith(b"{") and b'"findings"' in content else None
    except ValueError:
        return False
    return isinstance(told, dict) and {"findings", "accepted"} <= told.keys()


def table(content: bytes) -> pa.Table:
    """The rows of a file of Parquet; none of one that is damaged."""
    try:
        return pq.read_table(io.BytesIO(content), partitioning=None)
    except (pa.ArrowException, OSError):
        return pa.table({})


def _records(line: bytes) -> list[dict[str, Any]]:
    """The records in a line of the prediction log; none of any other line."""
    if b'"records"' not in line:
        return []
    try:
        told = json.loads(line)
        records, predictions = told["request"]["records"], told["answer"]["predictions"]
    except (ValueError, KeyError, TypeError):
        return []
    is_whole = (
        isinstance(records, list) and len(records) == len(predictions) and all(isinstance(r, dict) for r in records)
    )
    return records if is_whole else []


def read(path: str, tables: Mapping[str, Table]) -> tuple[Keys, list[str]]:
    """The keys in a file, and the raw tables that have its columns.

    Raises KibanError if it has no rows, or if no table has its columns.
    """
    rows = given.rows(given.files(path), WrittenFile())
    holders = [name for name, table in tables.items() if set(rows.column_names) <= set(table.columns)]
    if not holders:
        raise KibanError(f"{path}: no raw table has the columns {', '.join(rows.column_names)}")
    if not rows.num_rows:
        raise KibanError(f"{path} has no rows")
    table = tables[holders[0]]
    columns = {name: table.columns[name].model_copy(update={"nullable": False}) for name in rows.column_names}
    part = table.model_copy(update={"columns": columns, "key": rows.column_names, "time": None})
    typed = parquet.conform(rows, part, path)
    return Keys({tuple(typed.column_names): frozenset(key_texts(typed, typed.column_names))}), holders


def files_with(holding: Holding, folders: Iterable[Path]) -> list[Path]:
    """The files in folders that hold something of it."""
    found = []
    for folder in folders:
        paths = [folder] if folder.is_file() else sorted(folder.rglob("*"))
        found += [path for path in paths if path.is_file() and holding.content(path.read_bytes())]
    return found
