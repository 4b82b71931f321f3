import re

import pytest
from slice import ROOT

from kiban.data.contract import Column, Table
from kiban.validate import conditions

PAGE = (ROOT / "docs/contracts.md").read_text()


@pytest.mark.parametrize("key", [*Table.model_fields, *Column.model_fields])
def test_the_page_tells_of_every_key(key: str) -> None:
    assert re.search(rf"^\|.*`{key}`.*\|.*\|.*\|$", PAGE, re.MULTILINE)


SPELLED = {
    **{"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "IntDiv": "//", "Mod": "%", "Neg": "-"},
    **{"EQ": "=", "NEQ": "<>", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">=", "Is": "IS NULL", "In": "IN (…)"},
    **{"Column": "columns", "Identifier": "columns", "Literal": "numbers", "Boolean": "TRUE", "Null": "NULL"},
    **{"Paren": "parentheses", "Tuple": "IN (…)", "Var": "extract", "If": "CASE", "DataType": "::"},
    **{"AtTimeZone": "AT TIME ZONE", "TimeToStr": "strftime", "Window": "OVER", "Ordered": "ORDER BY"},
}
"""How SQL spells what sqlglot calls otherwise."""


@pytest.mark.parametrize("kind", [kind.__name__ for kind in conditions.VOCABULARY])
def test_the_page_tells_of_every_word_of_a_condition(kind: str) -> None:
    assert SPELLED.get(kind, kind).lower() in PAGE.lower()
