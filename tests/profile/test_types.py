"""The type of a column of text, and how its values are written: decided from all of them, or asked."""

from collections import Counter

import pytest

from kiban.core.errors import KibanError
from kiban.data.written import MisreadError, Written
from kiban.profile.types import Options, QuestionError, Read, read

NUMBERS = [str(number) for number in range(100)]


def read_of(texts: list[str], **options: object) -> Read:
    first = {text: texts.index(text) + 1 for text in texts}
    counts = Counter(text for text in texts if text.strip())
    return read("x", counts, Options(**options), first)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("texts", "type", "values"),
    [
        (["1", "2"], "integer", ["1", "2"]),
        (["1", "+3"], "integer", ["1", "3"]),
        (["1.5", "-2e3"], "number", ["1.5", "-2e3"]),
        (["5.", ".5"], "number", ["5", "0.5"]),
        (["1,234.50", "5"], "number", ["1234.50", "5"]),
        (["1.234,5", "7"], "number", ["1234.5", "7"]),
        (["1 234,5", "12,3"], "number", ["1234.5", "12.3"]),
        (["0.500", "1.250"], "number", ["0.500", "1.250"]),
        (["$5", "$1,200.50"], "number", ["5", "1200.50"]),
        (["5 €", "-6,50 €"], "number", ["5", "-6.50"]),
        (["5%", "6.5%"], "number", ["5", "6.5"]),
        (["$5", "€6"], "string", ["$5", "€6"]),
        (["US$5.50", "US$7"], "number", ["5.50", "7"]),
        (["5%", "6"], "string", ["5%", "6"]),
        (["01234", "23456"], "string", ["01234", "23456"]),
        (["12E4", "13E5"], "string", ["12E4", "13E5"]),
        (["99999999999999999999", "1"], "string", ["99999999999999999999", "1"]),
        (["yes", "No"], "boolean", ["true", "false"]),
        (["TRUE", "False"], "boolean", ["true", "false"]),
        (["ja", "nein"], "boolean", ["true", "false"]),
        ([" a", "b "], "string", ["a", "b"]),
        (["1.5", "NA", "-"], "number", ["1.5", None, None]),
        (["DE", "NA"], "string", ["DE", "NA"]),
        ([*NUMBERS, "nil"], "integer", [*NUMBERS, None]),
        (["2024-01-05", "2024-02-01"], "date", ["2024-01-05", "2024-02-01"]),
        (["31.12.2024", "3.4.2024"], "date", ["2024-12-31", "2024-04-03"]),
        (["12/31/24", "01/02/24"], "date", ["2024-12-31", "2024-01-02"]),
        (["5 Jan 2023", "17 Feb 2024"], "date", ["2023-01-05", "2024-02-17"]),
        (["2024-01-05", "31.12.2024", "5 Jan 2023"], "date", ["2024-01-05", "2024-12-31", "2023-01-05"]),
        (["31.02.2024", "03.04.2024"], "string", ["31.02.2024", "03.04.2024"]),
        (["2024-01-05T10:00:00Z"], "timestamp", ["2024-01-05T10:00:00Z"]),
        (["12/31/2024 10:00 PM", "01/02/2024 01:00 AM"], "timestamp", ["2024-12-31T22:00:00Z", "2024-01-02T01:00:00Z"]),
        (["12:30", "13:40"], "string", ["12:30", "13:40"]),
    ],
)
def test_texts_are_read_as_what_all_of_them_are(texts: list[str], type: str, values: list[str | None]) -> None:
    found = read_of(texts)
    assert found.type == type
    assert [found.written.canonical(text, type) if found.written else text for text in texts] == values


@pytest.mark.parametrize(
    ("texts", "option", "answers"),
    [
        (["1.234", "5.678"], "decimal", {".": "1.234", ",": "1234"}),
        (["1,234", "5"], "decimal", {",": "1.234", ".": "1234"}),
        (["01.02.2024", "03.04.2024"], "dates", {"day-first": "2024-02-01", "month-first": "2024-01-02"}),
    ],
)
def test_what_can_be_read_in_two_ways_is_asked(texts: list[str], option: str, answers: dict[str, str]) -> None:
    with pytest.raises(QuestionError, match=texts[0]) as raised:
        read_of(texts)
    assert raised.value.option.startswith(f"--{option}")
    for answer, value in answers.items():
        found = read_of(texts, **{option: answer})
        assert (found.written.canonical(texts[0], found.type) if found.written else texts[0]) == value


def test_a_word_among_numbers_is_named_with_its_row() -> None:
    with pytest.raises(KibanError, match="column 'x', row 101: 'x9z' is no number, but nearly all other values are"):
        read_of([*NUMBERS, "x9z"])
    assert read_of([*NUMBERS, "x9z"], missing=("x9z",)).type == "integer"


def test_times_without_a_zone_are_taken_in_the_given_one() -> None:
    found = read_of(["2024-01-05 10:00", "2024-07-05 10:00"], timezone="Europe/Berlin")
    assert found.type == "timestamp"
    assert found.notes == ["times without a zone: taken in Europe/Berlin"]
    with pytest.raises(KibanError, match=r"row 2: '2024-03-31 02:30' does not exist in Europe/Berlin"):
        read_of(["2024-01-05 10:00", "2024-03-31 02:30"], timezone="Europe/Berlin")
    doubled = read_of(["2024-10-27 01:30", "2024-10-27 02:30"], timezone="Europe/Berlin")
    assert "1 time exist twice, since clocks are put back: the first is taken, as in row 2" in doubled.notes[1]
    assert doubled.written is not None
    assert doubled.written.canonical("2024-10-27 02:30", "timestamp") == "2024-10-27T00:30:00Z"


def test_what_stands_for_null_does_so_in_later_files_too() -> None:
    found = read_of(["1", "2"], missing=("NA",))
    assert found.written is not None
    assert found.written.canonical("NA", "integer") is None


def test_a_day_begins_with_the_first_moment_that_exists() -> None:
    """In Sao Paulo the clocks went from 23:59 to 01:00."""
    written = Written(timezone="America/Sao_Paulo")
    assert written.canonical("2018-11-04", "timestamp") == "2018-11-04T03:00:00Z"
    with pytest.raises(MisreadError, match="does not exist in America/Sao_Paulo"):
        written.canonical("2018-11-04 00:30", "timestamp")


@pytest.mark.parametrize(
    ("text", "type"), [("0001-01-01 00:00:00", "timestamp"), ("2024-01-31 23:30:00+05:00", "date")]
)
def test_what_is_no_such_moment_is_refused(text: str, type: str) -> None:
    with pytest.raises(MisreadError):
        Written(timezone="Europe/Berlin").canonical(text, type)
