"""How values are written: one reading for whole columns and for single values of a request."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiban.data import parquet
from kiban.data.contract import Column
from kiban.data.written import MisreadError, Written
from kiban.request.schema import from_text

GERMAN = Written(decimal=",", thousands=".", around=["€"], missing=["k.A."])
DAYS = Written(dates=["%d.%m.%Y"])
WORDS = Written(words={"ja": True, "nein": False})
COLUMNS = [
    Column(type="number", nullable=True, description="price", written=GERMAN),
    Column(type="date", nullable=True, description="day", written=DAYS),
    Column(type="boolean", nullable=True, description="answer", written=WORDS),
    Column(type="string", nullable=True, description="text", written=Written()),
]
TEXTS = st.one_of(
    st.text(alphabet="0123456789.,€- ek.A", max_size=10),
    st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{3}){0,2}(,[0-9]{1,2})?( €)?", fullmatch=True),
    st.dates().map(lambda day: day.strftime("%d.%m.%Y")),
    st.sampled_from(["ja", "Nein", "true", "k.A.", "NA", " a "]),
)


@settings(deadline=None)  # the first example imports
@given(texts=st.lists(TEXTS, min_size=1, max_size=5), column=st.sampled_from(COLUMNS))
def test_a_column_and_a_request_read_the_same(texts: list[str], column: Column) -> None:
    values, misread = parquet.canonical(pa.array(texts), column)
    for index, (text, value) in enumerate(zip(texts, values.to_pylist(), strict=True)):
        single = from_text(text, column) if text else None
        if any(texts[row] == text for row in misread):
            assert single == text  # which the schema refuses, unless the column is of text
            assert value is None
        else:
            assert single == (None if value is None else from_text(value, column.model_copy(update={"written": None})))
        assert index not in misread or column.type != "string"


@pytest.mark.parametrize("text", ["12.34", "1.2345,6", "1,2,3", "abc", "--5", "1.000.00", ""])
def test_what_is_not_written_so_is_not_a_number(text: str) -> None:
    """12.34 is a number in JSON, but here the point stands between thousands."""
    if text:
        with pytest.raises(MisreadError):
            GERMAN.canonical(text, "number")
    else:
        assert GERMAN.canonical(text, "number") is None
