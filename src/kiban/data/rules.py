"""The rules of a contract for the values of Arrow columns: which values have the right type, and which break a rule.

The endpoint's schema (pydantic) and the validation of batches (Great Expectations) implement the same rules;
tests/data/test_rules.py checks that all of them agree.
"""

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from kiban.data.contract import Column, Policy, Type

MOST_LEVELS = 10  # listed in the message about an unknown level

Values = Any  # pa.Array or pa.ChunkedArray, which have no types of their own


class Rule(NamedTuple):
    """A rule for each value of a column. A null breaks only the rule that values may not be null.

    `text` follows the column's name in a sentence. `broken` gives for each value whether it breaks the rule.
    """

    text: str
    policy: Policy
    broken: Callable[[Values], Values]


def rules(column: Column) -> Iterator[Rule]:
    """The rules of a column. The type of its values is not among them: `is_of` checks it."""
    low, high, levels = column.min, column.max, column.levels
    if not column.nullable:
        yield Rule("may not be null", "reject", pc.is_null)
    if levels is not None:
        named = ", ".join(levels[:MOST_LEVELS]) + (", …" if len(levels) > MOST_LEVELS else "")
        yield Rule(f"must be one of {named}", column.unseen, lambda values: _is_none_of(values, levels))
    if low is not None:
        yield Rule(f"must be {low} or more", column.out_of_range, lambda values: _true(pc.less(values, low)))
    if high is not None:
        yield Rule(f"must be {high} or less", column.out_of_range, lambda values: _true(pc.greater(values, high)))


def breaks(values: Values, column: Column, policy: Policy) -> Values:
    """For each value, whether it breaks a rule with this policy."""
    broken = [rule.broken(values) for rule in rules(column) if rule.policy == policy]
    nothing = pa.array([False] * len(values), pa.bool_())
    return reduce(pc.or_, broken, nothing)


def _is_none_of(values: Values, levels: list[str]) -> Values:
    return pc.invert(pc.is_in(values, pa.array([*levels, None], pa.string())))


def _true(answers: Values) -> Values:
    """`answers` with false in place of null: a comparison with null gives null."""
    return pc.fill_null(answers, False)


def is_of(kind: pa.DataType, type: Type) -> bool:
    """Whether values of an Arrow type have a contract's type without conversion. A column of nulls has any type.

    A number may be an integer. An integer may be a float, because pandas stores integers with a null among them so.
    """
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_null(kind):
        return True
    match type:
        case "string":
            return is_text(kind)
        case "integer" | "number":
            return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        case "boolean":
            return pa.types.is_boolean(kind)
        case "timestamp":
            return pa.types.is_timestamp(kind)
        case "date":
            return pa.types.is_date(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is text, dictionary-encoded or not."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def converts(kind: pa.DataType, type: Type) -> bool:
    """Whether a source may give values of an Arrow type for a contract's type, which are then converted.

    Text may stand for any type, as in CSV. Any value that is not nested may become text, but a duration, whose unit
    would be lost. 0 and 1 may stand for no and yes, as in databases.
    """
    if is_of(kind, type) or is_text(kind):
        return True
    if type == "string":
        return not (pa.types.is_nested(kind) or pa.types.is_duration(kind) or pa.types.is_interval(kind))
    binary = {"boolean": pa.types.is_integer, "integer": pa.types.is_boolean, "number": pa.types.is_boolean}
    return type in binary and bool(binary[type](kind))
