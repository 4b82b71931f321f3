"""The schema of a request, from the contract's features: types, ranges and levels, and whether null is allowed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
    with_config,
)
from pydantic_core import ErrorDetails, PydanticCustomError, from_json
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from kiban.data.contract import Column
from kiban.data.written import MisreadError, WrittenFile
from kiban.request.refusal import Finding, RefusedError, finding
from kiban.servable.columns import TIMES, moment

MOST_NUMBER = 3.4e38  # the largest number of single precision, which models read
MOST_INTEGER = 2**53 - 1  # the largest integer that all programs exchange exactly in JSON (RFC 8259, section 6)
MOST_KEY = 2**63 - 1  # the largest integer of a key, which is kept as it is
MOST_FINDINGS = 50  # in one refusal
MOST_SHOWN = 60  # characters of a value in a finding
MOST_LEVELS = 20  # listed in the finding about an unknown level

_NAMES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "date": "a date such as 2013-01-31",
    "timestamp": "a time such as 2013-01-31T15:00:00Z",
}
_PROBLEMS = {
    "literal_error": "is not among the levels",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "finite_number": "is not finite",
    "fraction": "is not a whole number",
    "moment": "is not such a time",
}

Records = Sequence[Mapping[str, Any]]
Places = Sequence[tuple[int, str]]
"""Places of values: the index of the record, and the name of the field."""


class Prediction(BaseModel):
    """A prediction, whose fields are those of the model's task (predictions.py)."""

    model_config = ConfigDict(extra="allow")


class Answer(BaseModel):
    """A prediction for each record, in the order of the records, and the id of the model that made them.

    `warnings` name values that are unlike those in training; their records are answered all the same.
    """

    model_id: str
    predictions: list[Prediction]
    warnings: list[Finding]


@dataclass(frozen=True)
class Schema:
    """The schema of requests about `features`, with at most `max_records` records.

    A record may have `keys` too, which say which row it is, and which no model reads. It may have `ignored` columns,
    which are dropped. With `is_file` a record stands as in the file that the model was trained on; `written` is how
    such a file is written.
    """

    features: Mapping[str, Column]
    max_records: int
    keys: Mapping[str, Column] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    is_file: bool = False
    written: WrittenFile = field(default_factory=WrittenFile)

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """All that a record may have: features, then keys."""
        return {**self.features, **self.keys}

    def taken(self, record: Any) -> Any:
        """A record without the ignored columns, and, of a file, with texts read as they are written there."""
        if not isinstance(record, dict):
            return record
        record = {name: value for name, value in record.items() if name not in self.ignored}
        if not self.is_file:
            return record
        columns = self.columns
        return {
            name: from_text(value, columns[name])
            if isinstance(value, str) and name in columns and columns[name].written is not None
            else value
            for name, value in record.items()
        }

    @cached_property
    def record(self) -> Any:
        """The type of one record. Types are strict, unknown fields refused; what is nullable may be null or absent.

        It is a TypedDict, because not every name of a column can be the name of an attribute.
        """
        fields = {name: _field(column) for name, column in self.features.items()}
        fields |= {
            name: _key(column) if column.type == "integer" else _field(column) for name, column in self.keys.items()
        }
        return with_config(ConfigDict(extra="forbid", strict=True))(TypedDict("Record", fields))  # type: ignore[operator]

    @cached_property
    def request(self) -> type[BaseModel]:
        """The type of a request's body, {"records": [{feature: value}]}."""
        records: Any = (list[self.record], Field(min_length=1, max_length=self.max_records))  # type: ignore[name-defined]
        return create_model("Request", __config__=ConfigDict(extra="forbid", strict=True), records=records)

    def check(self, records: Sequence[Any]) -> Records:
        """The records, with None for each absent feature. Raises RefusedError (422) if the contract rejects one."""
        if not 1 <= len(records) <= self.max_records:
            raise RefusedError(422, finding(f"there are {len(records)} records", self.how_many(), field="records"))
        for index, record in enumerate(records):
            # Checked before pydantic, which takes long to report a hundred thousand unknown fields.
            if isinstance(record, dict) and len(record) > len(self.columns):
                unknown = islice((name for name in record if name not in self.columns), MOST_FINDINGS)
                raise RefusedError(422, *(self._unknown(index, name) for name in unknown))
        try:
            return [{**self._nulls, **record} for record in self._all.validate_python(records)]
        except ValidationError:
            raise RefusedError(422, *self._findings(records)) from None

    def how_many(self) -> str:
        """The allowed numbers of records as text."""
        return f"1 to {self.max_records} records"

    def unusual(self, records: Records) -> Places:
        """The places of the values that the contract warns about."""
        return [
            (index, name)
            for index, record in enumerate(records)
            for name, is_usual in self._usual
            if not is_usual(record[name])
        ]

    def warnings(self, records: Records, unusual: Places) -> list[dict[str, Any]]:
        """A finding for each of the first MOST_FINDINGS unusual values. A last one has the number of the others."""
        warnings = [
            finding(
                f"{shown(records[index][name])} is outside what the contract expects",
                allowed(self.features[name]),
                record=index,
                field=name,
            )
            for index, name in unusual[:MOST_FINDINGS]
        ]
        if len(unusual) > MOST_FINDINGS:
            warnings.append(
                finding(f"{len(unusual) - MOST_FINDINGS} more values are outside what the contract expects")
            )
        return warnings

    @cached_property
    def _all(self) -> TypeAdapter[list[dict[str, Any]]]:
        return TypeAdapter(list[self.record])  # type: ignore[name-defined]

    @cached_property
    def _one(self) -> TypeAdapter[dict[str, Any]]:
        return TypeAdapter(self.record)

    @cached_property
    def _nulls(self) -> dict[str, None]:
        return {name: None for name, column in self.features.items() if column.nullable}

    @cached_property
    def _usual(self) -> list[tuple[str, Callable[[Any], bool]]]:
        tests = [(name, _usual(column)) for name, column in self.features.items()]
        return [(name, test) for name, test in tests if test]

    def _findings(self, records: Sequence[Any]) -> list[dict[str, Any]]:
        findings: list[dict[str, Any]] = []
        for index, record in enumerate(records):
            try:
                self._one.validate_python(record)
            except ValidationError as error:
                findings += [self._finding(index, each) for each in error.errors(include_url=False)]
            if len(findings) >= MOST_FINDINGS:
                break
        return findings[:MOST_FINDINGS]

    def _finding(self, index: int, error: ErrorDetails) -> dict[str, Any]:
        if not error["loc"]:
            return finding(
                f"{shown(error['input'])} is not a record", "an object with a value for each field", record=index
            )
        name = str(error["loc"][0])
        if error["type"] == "extra_forbidden":
            return self._unknown(index, name)
        if error["type"] == "missing":
            problem = "it is missing"
        else:
            problem = f"{shown(error['input'])} {_PROBLEMS.get(error['type'], 'is of another type')}"
        return finding(problem, allowed(self.columns[name]), record=index, field=name)

    def _unknown(self, index: int, name: str) -> dict[str, Any]:
        shown = name.encode(errors="replace").decode()[:MOST_SHOWN]
        return finding("there is no such field", "the fields that /model lists", record=index, field=shown)


def allowed(column: Column) -> str:
    """The values that the contract accepts in a column, as text. They include those that it only warns about."""
    words = _NAMES[column.type]
    if column.levels is not None:
        levels = ", ".join(column.levels[:MOST_LEVELS])
        more = ", …" if len(column.levels) > MOST_LEVELS else ""
        words = f"one of {levels}{more}" if column.unseen == "reject" else f"{words}, usually one of {levels}{more}"
    elif column.min is not None or column.max is not None:
        low, high = column.min, column.max
        span = f"from {low} to {high}" if None not in (low, high) else f"from {low}" if high is None else f"to {high}"
        words += f" {span}" if column.out_of_range == "reject" else f", usually {span}"
    return words + (f" [{column.unit}]" if column.unit else "") + (", or null" if column.nullable else "")


def accepted_range(column: Column) -> tuple[float, float]:
    """The least and the greatest value that is accepted for a number or an integer."""
    most = MOST_INTEGER if column.type == "integer" else MOST_NUMBER
    low, high = (column.min, column.max) if column.out_of_range == "reject" else (None, None)
    return -most if low is None else low, most if high is None else high


def shown(value: Any) -> str:
    """A value as JSON, at most MOST_SHOWN characters. A list or an object is not shown, and 1.0 is shown as 1."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps(value[:MOST_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"


def _usual(column: Column) -> Callable[[Any], bool] | None:
    """A test whether the contract does not warn about a value, or None if the column has no warnings."""
    if column.levels is not None and column.unseen == "warn":
        accepted = {*column.levels, None}
        return lambda value: value in accepted
    if (column.min is not None or column.max is not None) and column.out_of_range == "warn":
        low = -MOST_NUMBER if column.min is None else column.min
        high = MOST_NUMBER if column.max is None else column.max
        return lambda value: value is None or low <= value <= high
    return None


def _field(column: Column) -> Any:
    kind: Any
    if column.levels is not None and column.unseen == "reject":
        kind = Literal[tuple(column.levels)]
    elif column.type == "string":
        kind = str
    elif column.type == "boolean":
        kind = bool
    elif column.type in TIMES:
        form = {"type": "string", "format": "date" if column.type == "date" else "date-time"}
        kind = Annotated[str, AfterValidator(partial(_moment, column)), WithJsonSchema(form)]
    else:
        limits = dict(zip(("minimum", "maximum"), accepted_range(column), strict=True))
        kind = Annotated[float, Field(ge=limits["minimum"], le=limits["maximum"], allow_inf_nan=False)]
        if column.type == "integer":
            # JSON Schema accepts 1020.0 as an integer, and pandas writes integers so if the column has a null.
            kind = Annotated[kind, AfterValidator(_whole), WithJsonSchema({"type": "integer", **limits})]
    description = column.description + (f" [{column.unit}]" if column.unit else "")
    if column.nullable:
        return NotRequired[Annotated[kind | None, Field(description=description)]]
    return Annotated[kind, Field(description=description)]


def _key(column: Column) -> Any:
    """An integer that says which row it is: it may have more digits than numbers of JSON are sure to keep."""
    form = {"type": "integer", "minimum": -MOST_KEY, "maximum": MOST_KEY}
    kind = Annotated[Any, PlainValidator(_exact), WithJsonSchema(form)]
    return NotRequired[Annotated[kind | None, Field(description=column.description)]]


def _exact(value: Any) -> int:
    if type(value) not in (int, float):
        raise PydanticCustomError("int_type", "a whole number is needed")
    if value != value or abs(value) > MOST_KEY or int(value) != value:
        raise PydanticCustomError("fraction", "a whole number is needed")
    return int(value)


def _moment(column: Column, text: str) -> str:
    try:
        moment(text, column)
    except ValueError:
        raise PydanticCustomError("moment", "a date or a time is needed") from None
    return text


def _whole(value: float) -> float:
    """The value if it is a whole number. Pydantic's multiple_of does not serve: it accepts 1e-42 as a multiple of 1."""
    if not value.is_integer():
        raise PydanticCustomError("fraction", "a whole number is needed")
    return value


def from_text(text: str, column: Column) -> Any:
    """The value of a field of CSV that is not empty. Text that is not a value stays text, and the schema refuses it."""
    if column.written is not None:
        try:
            canonical = column.written.canonical(text, column.type)
        except MisreadError:
            return text
        if canonical is None:
            return None
        text = canonical
    if column.type == "string" or column.type in TIMES:
        return text
    try:
        return from_json(text)
    except ValueError:
        return text
