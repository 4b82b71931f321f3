"""The columns of a table with their types, as they are decided from all of its values."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from kiban.core.errors import KibanError
from kiban.data import parquet, rules
from kiban.data.contract import Column, Table, Type, misnamed
from kiban.data.written import Written
from kiban.profile.questions import AmbiguousError
from kiban.profile.types import DAYS, MONTHS, MOST_NAMED, Options, QuestionError, Read, doubled_note, read

TOTALS = re.compile(
    r"(grand |sub)?totals?|total (général|general)|sums?|(gesamt|end|zwischen)?summe|(ins)?gesamt|somme|totale|合計"
)


class Typed(NamedTuple):
    """The rows in the types of the contract, in the order of the file, and how each column is read."""

    rows: pa.Table
    columns: dict[str, Read]


def typed(rows: pa.Table, options: Options, where: str, has_types: bool = False) -> Typed:
    """The rows with types. `where` is the name of the file, `has_types` says that text is so by choice, as in Parquet.

    Raises KibanError if the names or the values are those of no table, and AmbiguousError if some can be read in two
    ways.
    """
    _check_names(rows.column_names, where)
    _check_total(rows, where)
    columns: dict[str, Read] = {}
    asked: dict[str, QuestionError] = {}
    for name in rows.column_names:
        try:
            columns[name] = _read(name, rows[name], options, has_types)
        except QuestionError as error:
            asked[name] = error
        except KibanError as error:
            raise KibanError(f"{where}: {error}") from None
    again = _as_other_columns(columns, options)
    questions = []
    for name, question in asked.items():
        try:
            columns[name] = _read(name, rows[name], again, has_types)
        except QuestionError:
            questions.append(f"{question} (give {question.option})")
    if questions:
        raise AmbiguousError([f"{where}: {question}" for question in questions])
    ordered = {name: columns[name] for name in rows.column_names}
    contract = Table(
        description=where,
        key=[rows.column_names[0]],
        columns={
            name: Column(type=each.type, written=each.written, nullable=name != rows.column_names[0], description=name)
            for name, each in ordered.items()
        },
    )
    return Typed(parquet.typed(rows, contract, where), ordered)


def _read(name: str, values: pa.ChunkedArray, options: Options, has_types: bool) -> Read:
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if rules.is_text(kind) or pa.types.is_null(kind):
        texts = values.cast(pa.string()).combine_chunks()
        present = pc.value_counts(texts).to_pylist()
        counts = {pair["values"]: pair["counts"] for pair in present if pair["values"] and pair["values"].strip()}
        blanks = any(pair["values"] and not pair["values"].strip() for pair in present)
        found = read(name, counts, options, _First(texts), blanks)
        if has_types and found.type != "string" and found.written is None:  # `kiban score` must know that it is text
            return found._replace(written=Written())
        return found
    notes = []
    written = None
    if pa.types.is_timestamp(kind) and kind.tz is None:
        written = Written(timezone=options.timezone)
        notes.append(f"times without a zone: taken in {options.timezone}")
        doubled = [place + 1 for place in parquet.unsure(values, options.timezone, "ambiguous")]
        notes += doubled_note(len(doubled), doubled[:MOST_NAMED]) if doubled else []
    return Read(_type(name, kind, values), written, notes)


class _First(Mapping[str, int]):
    """The row, counted from 1, of the first occurrence of each text. It is looked for only when it is asked for."""

    def __init__(self, texts: pa.Array) -> None:
        self.texts = texts

    def __getitem__(self, text: str) -> int:
        row: int = pc.index(self.texts, pa.scalar(text, pa.string())).as_py() + 1
        return row

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.texts.unique().to_pylist())

    def __len__(self) -> int:
        return len(self.texts.unique())


def _type(name: str, kind: pa.DataType, values: pa.ChunkedArray) -> Type:
    """The type of a column of Parquet, whose values have types."""
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        whole = pc.all(pc.equal(pc.floor(values), values)).as_py()
        return "integer" if whole and values.null_count else "number"  # pandas has such integers as fractions
    if pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    if pa.types.is_date(kind):
        return "date"
    raise KibanError(f"column {name!r} is of type {kind}, which no table here has: leave it out with --drop {name!r}")


def _as_other_columns(columns: Mapping[str, Read], options: Options) -> Options:
    """The options, with the decimal sign and the order of day and month that all other columns of the file have."""
    writtens = [(each.type, each.written) for each in columns.values()]
    decimals = {"," if written and written.decimal == "," else "." for type, written in writtens if type == "number"}
    days = {form.split()[0].split("T")[0] for _, written in writtens if written for form in written.dates}
    forms = {form[:2] for form in days if form in (*DAYS, *MONTHS)}
    orders = {"%d": "day-first", "%m": "month-first"}
    return options._replace(
        decimal=options.decimal or (next(iter(decimals)) if len(decimals) == 1 else None),
        dates=options.dates or (orders[next(iter(forms))] if len(forms) == 1 else None),
    )


def _check_names(names: Sequence[str], where: str) -> None:
    if problem := misnamed(names):
        raise KibanError(f"{where}: {problem}")
    for name in names:
        if names.count(name) > 1:
            raise KibanError(f"{where}: column {name!r} occurs twice: rename one of them")
        if not name.strip() and name != names[0]:
            raise KibanError(f"{where}: column {names.index(name) + 1} has no name: give it one, or remove it")


def _check_total(rows: pa.Table, where: str) -> None:
    """Raise KibanError if the last row is a sum of the others: it would be taken as one more row."""
    last = rows.slice(rows.num_rows - 1).to_pylist()[0] if rows.num_rows > 2 else {}
    for name, value in last.items():
        if isinstance(value, str) and TOTALS.fullmatch(value.strip().rstrip(":").casefold()):
            raise KibanError(
                f"{where}, row {rows.num_rows:,}: {value!r} in column {name!r} says that this row is a sum: remove it"
            )
