"""Contracts, which say what a table must look like: their types, and how they are read.

A contract is a YAML file under conf/contract/. Other modules derive from it: parquet.py the Arrow schema, validate/
the Great Expectations suite, train/ the preprocessing, request/ the schema of a request. Where a dataset has no
function of features, the contract of its prepared table is derived from that of its raw table.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.settings import parse
from kiban.data.batches import base
from kiban.data.written import Written, WrittenFile

Type = Literal["string", "integer", "number", "boolean", "timestamp", "date"]
Policy = Literal["reject", "warn"]
Part = Literal["month", "weekday", "day_of_year", "hour", "day_number"]
ADVICE = "correct the contract"
ONLY_RAW = ("condition", "since", "until", "was")
"""Settings of columns of raw tables alone."""

ROW_HASH = "row_hash"
"""The column that ingest adds as the key of a table without one: row_hash.py makes it."""
NO_KEY = re.compile(r"split|target|weight|(score|before|after)( \d+)?")
"""The names of the columns of predictions, and of pairs of them, that do not identify a row."""
NO_NAME = "file_row_number"
"""The column that DuckDB adds to the rows of a Parquet file."""
CODE = frozenset({"row_condition", "condition_parser", "$PARAMETER"})
"""Arguments that Great Expectations evaluates. It gives the first to pandas' query, which can call any function."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Was(_Strict):
    """What a column was before: its name, its type, or both."""

    name: str | None = None
    type: Type | None = None


class Column(_Strict):
    """One column. The policy `reject` refuses a batch or a request; `warn` reports the value and accepts it.

    `condition` is a SQL expression over the columns of a raw table. It must be true or null in every row of a batch;
    the policy `out_of_range` applies where it is false. validate/conditions.py lists what an expression may contain.
    `positive` is the value of a target that counts as true, all others being false: the model then answers yes or no.
    With `compare_by` a batch is compared with earlier ones also by each level of the column.
    `parts` are what a model reads of a date or a timestamp (UTC); `day_number` is the number of days since 1970.
    `written` says how the values are written in CSV, where that is not as in JSON.
    A column of role weight says how much a row counts in training and in every metric; callers are not asked for it.
    A `personal` column is read by the model if it is a feature, and written to no log and no page of the monitor.
    The column is absent in batches before `since`, or is there what it `was`, and absent in batches after `until`.
    """

    type: Type
    description: str
    unit: str | None = None
    role: Literal["feature", "target", "weight", "info"] = "info"
    nullable: bool = False
    min: int | float | None = None
    max: int | float | None = None
    out_of_range: Policy = "reject"
    levels: list[str] | None = None
    unseen: Policy = "reject"
    condition: str | None = None
    compare_by: bool = False
    positive: str | int | None = None
    parts: list[Part] | None = Field(default=None, min_length=1)
    written: Written | None = None
    personal: bool = False
    since: str | None = None
    until: str | None = None
    was: Was | None = None

    @field_validator("was", mode="before")
    @classmethod
    def _is_perhaps_a_name(cls, was: Any) -> Any:
        return {"name": was} if isinstance(was, str) else was

    @model_validator(mode="after")
    def _has_had_its_time(self) -> Self:
        if self.was is not None and self.since is None:
            raise ValueError("was needs since, the first batch in which it is no longer so")
        if not self.nullable and (self.until or (self.since and self.was is None)):
            raise ValueError("a column with since or until must be nullable: it is null in the other batches")
        return self

    def at(self, batch: str, name: str) -> tuple[str, Type] | None:
        """The name and the type that the column called `name` had in a batch, or None if it was absent there."""
        if self.until is not None and base(batch) > self.until:
            return None
        if self.since is None or batch >= self.since:
            return name, self.type
        return (self.was.name or name, self.was.type or self.type) if self.was else None

    @model_validator(mode="after")
    def _limits_fit_type(self) -> Self:
        if (self.min is not None or self.max is not None) and self.type not in ("integer", "number"):
            raise ValueError("min and max need type integer or number")
        if self.levels is not None and self.type != "string":
            raise ValueError("levels need type string")
        if self.compare_by and self.type not in ("string", "boolean"):
            raise ValueError("compare_by needs type string or boolean")
        if self.positive is not None:
            self._check_positive()
        if self.parts is not None and not (self.role == "feature" and self.type in ("timestamp", "date")):
            raise ValueError("parts need a feature of type date or timestamp")
        if "hour" in (self.parts or []) and self.type == "date":
            raise ValueError("the part hour needs type timestamp")
        if self.role == "weight":
            self._check_weight()
        return self

    def _check_weight(self) -> None:
        if self.type not in ("integer", "number") or self.nullable:
            raise ValueError("role weight needs type integer or number, and not nullable")
        if self.min is None or self.min <= 0 or self.out_of_range != "reject":
            raise ValueError("role weight needs a min above 0, and out_of_range: reject")

    def _check_positive(self) -> None:
        if self.role != "target":
            raise ValueError("positive needs role target")
        kind = {"string": str, "integer": int}.get(self.type)
        if kind is None or not isinstance(self.positive, kind):
            raise ValueError("positive needs type string or integer, and must be such a value")
        if self.levels is not None and self.positive not in self.levels:
            raise ValueError("positive must be one of the levels")


class Expectation(_Strict):
    """An expectation in the terms of Great Expectations, for a rule that no setting of a column expresses."""

    type: str
    kwargs: dict[str, Any]

    @model_validator(mode="after")
    def _runs_no_code(self) -> Self:
        for name in _keys(self.kwargs):
            if name in CODE:
                raise ValueError(f"{name} is not allowed, because it runs as code; use a column's `condition` instead")
        return self


class Table(_Strict):
    """One table. Rows are unique by `key` and sorted by it. A batch has the rows whose `time` is in its period.

    Without a key the rows of a raw table get one: the column `row_hash`, which is then the first of the columns.
    """

    description: str
    key: list[str] = Field(min_length=1)
    time: str | None = None
    columns: dict[str, Column]
    written: WrittenFile = WrittenFile()
    expectations: list[Expectation] = []

    @model_validator(mode="before")
    @classmethod
    def _has_a_key(cls, table: Any) -> Any:
        if not isinstance(table, dict) or table.get("key") or not isinstance(table.get("columns"), dict):
            return table
        if ROW_HASH in table["columns"]:
            raise ValueError(f"a table without a key must not have a column {ROW_HASH}: name its key")
        return {**table, "key": [ROW_HASH], "columns": {ROW_HASH: _ROW_HASH, **table["columns"]}}

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for name in [*self.key, *([self.time] if self.time else [])]:
            if name not in self.columns:
                raise ValueError(f"key or time names the column {name!r}, which is not among the columns")
            if self.columns[name].nullable:
                raise ValueError(f"key or time names the column {name!r}, which must not be nullable")
        if self.time and self.columns[self.time].type != "timestamp":
            raise ValueError(f"time names the column {self.time!r}, which must be of type timestamp")
        if problem := misnamed(self.columns):
            raise ValueError(problem)
        weights = [name for name, column in self.columns.items() if column.role == "weight"]
        if len(weights) > 1:
            raise ValueError(f"only one column may have role weight, and {', '.join(weights)} have it")
        return self

    def at(self, batch: str) -> "Table":
        """The table as it was in a batch: with the columns, names and types of that time."""
        then = {name: column.at(batch, name) for name, column in self.columns.items()}
        if all(each == (name, self.columns[name].type) for name, each in then.items()):
            return self
        names = {name: each[0] for name, each in then.items() if each}
        columns = {
            each[0]: self.columns[name].model_copy(update={"type": each[1]}) for name, each in then.items() if each
        }
        time = names[self.time] if self.time else None
        return self.model_copy(update={"key": [names[name] for name in self.key], "time": time, "columns": columns})

    def features(self) -> dict[str, Column]:
        """The feature columns by name, in the contract's order."""
        return {name: column for name, column in self.columns.items() if column.role == "feature"}

    def keys(self) -> dict[str, Column]:
        """The columns that say which row it is, as a caller may give them: key and time, where they are no features.

        They may be absent, and have neither levels nor limits. The hash of a row is not among them.
        """
        names = dict.fromkeys([*self.key, *([self.time] if self.time else [])])
        columns = {name: self.columns[name] for name in names if name != ROW_HASH}
        return {
            name: Column(
                type=column.type,
                description=column.description,
                unit=column.unit,
                nullable=True,
                written=column.written,
                personal=column.personal,
            )
            for name, column in columns.items()
            if column.role == "info"
        }

    def weight(self) -> str | None:
        """The name of the column that says how much a row counts, or None if each counts the same."""
        return next((name for name, column in self.columns.items() if column.role == "weight"), None)

    def target(self) -> str:
        """The name of the target column. Raises KibanError if there is not exactly one."""
        names = [name for name, column in self.columns.items() if column.role == "target"]
        if len(names) != 1:
            raise KibanError(f"a prepared contract needs exactly one column with role target, this one has {names}")
        return names[0]


def misnamed(names: Iterable[str]) -> str | None:
    """What is wrong with the names of columns, which SQL takes for others, or None."""
    by_case: dict[str, str] = {}
    for name in names:
        other = by_case.setdefault(name.casefold(), name)
        if other != name:
            return f"the columns {other!r} and {name!r} differ by case alone: rename one of them"
    if NO_NAME in by_case:
        return f"column {by_case[NO_NAME]!r}: DuckDB numbers rows by that name: rename it"
    return None


_ROW_HASH = {"type": "string", "description": "Hash of the row without its target, and a number if rows are equal"}


def _keys(node: Any) -> Iterator[str]:
    """All keys of the mappings in `node`, at any depth."""
    if isinstance(node, dict):
        yield from node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _keys(inner)


def prepared_content(dataset: str) -> bytes:
    """The content of the prepared contract of a dataset: that of its file or, without one, what is derived.

    Raises KibanError if there is neither a file nor one raw table.
    """
    path, raw = paths.prepared_contract(dataset), paths.raw_contract(dataset)
    return path.read_bytes() if path.exists() else derived(read_raw(raw), str(raw))


def prepared_of(dataset: str) -> Table:
    """The prepared table of a dataset. Raises KibanError, which names the file and the key, if it is wrong."""
    return parse_prepared(prepared_content(dataset), str(_prepared_file(dataset)))


def _prepared_file(dataset: str) -> Path:
    """The file that has the columns of the prepared table."""
    path = paths.prepared_contract(dataset)
    return path if path.exists() else paths.raw_contract(dataset)


def derived(raw: Mapping[str, Table], where: str) -> bytes:
    """The prepared contract of a dataset whose prepared rows are its raw ones, as YAML.

    Raises KibanError, which starts with `where`, if there is more than one raw table.
    """
    if len(raw) != 1:
        raise KibanError(f"{where} has the tables {', '.join(raw)}: write the contract of the prepared rows beside it")
    (table,) = raw.values()
    content = table.model_dump(exclude_defaults=True)
    for column in content["columns"].values():
        for setting in ONLY_RAW:
            column.pop(setting, None)
    return _as_yaml(content)


def as_yaml(table: Table) -> bytes:
    """The table as the content of a prepared contract."""
    return _as_yaml(table.model_dump(exclude_defaults=True))


def _as_yaml(content: Any) -> bytes:
    return yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=120).encode()


def read_raw(path: Path) -> Mapping[str, Table]:
    """The tables of a raw contract by name.

    Raises KibanError, which names the file and the key, if the contract is missing or wrong.
    """
    return parse_raw(_content(path), str(path))


def read_prepared(path: Path) -> Table:
    """The table of a prepared contract, which needs one target.

    Raises KibanError, which names the file and the key, if the contract is missing or wrong.
    """
    return parse_prepared(_content(path), str(path))


def parse_raw(content: bytes, where: str) -> Mapping[str, Table]:
    """Like `read_raw`, from the content of a file that error messages call `where`."""
    return parse(content, TypeAdapter(dict[str, Table]), where, ADVICE)


def parse_prepared(content: bytes, where: str) -> Table:
    """Like `read_prepared`, from the content of a file that error messages call `where`."""
    table = parse(content, TypeAdapter(Table), where, ADVICE)
    for name, column in table.columns.items():
        for setting in ONLY_RAW:
            if getattr(column, setting) is not None:
                raise KibanError(f"{where}: columns.{name}.{setting}: only a column of a raw table has it; {ADVICE}")
    for name in [*table.key, *([table.time] if table.time else [])]:
        if NO_KEY.fullmatch(name):
            raise KibanError(f"{where}: key or time names the column {name!r}, whose name predictions need: rename it")
    target = table.columns[table.target()]
    if target.type in ("timestamp", "date"):
        raise KibanError(f"{where}: columns.{table.target()}.type: a target must not be a time")
    if target.type == "string":
        _check_levels(target, f"{where}: columns.{table.target()}")
    return table


def _check_levels(target: Column, where: str) -> None:
    """Raise KibanError unless every value of a target of type string is a level, of which there are two or more."""
    levels = target.levels or []
    if len(levels) < 2:
        raise KibanError(f"{where}.levels: a target of type string needs two or more")
    if len(set(levels)) < len(levels):
        raise KibanError(f"{where}.levels: a level stands there twice")
    if target.unseen != "reject":
        raise KibanError(f"{where}.unseen: a target must reject unknown levels")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise KibanError(f"{path}: this contract is missing; write it, or correct dataset.name") from None
