"""How values are written where all is text: in CSV, in a request. It is decided once, and stands in the contract.

`canonical` turns such a text into the one that JSON would have: 1234.5, true, 2013-01-31, 2013-01-31T15:00:00Z. All
readers of files and of requests use it, so that they cannot differ.
"""

import re
from datetime import UTC, datetime, time
from functools import lru_cache
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WrittenFile(_Strict):
    """How a table is written in a CSV file. `skip` is the number of lines before the names of the columns."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    encoding: Literal["utf-8", "cp1252", "utf-16"] = "utf-8"
    skip: int = Field(default=0, ge=0)


class Written(_Strict):
    """How the values of a column are written. Blanks around a value do not count.

    `missing` are texts that stand for null. A number has the sign `decimal`, perhaps `thousands` between groups of
    three digits, and perhaps one of the signs `around` before or behind it, such as € or %. `words` stand for yes and
    no. `dates` are formats of Python's strptime, each tried in turn. Times without a zone are those of `timezone`.
    """

    missing: list[str] = []
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'", "\u2019", "\u00a0", "\u202f"] | None = None
    around: list[str] = []
    words: dict[str, bool] = {}
    dates: list[str] = []
    timezone: str | None = None

    @field_validator("timezone")
    @classmethod
    def _is_a_time_zone(cls, name: str | None) -> str | None:
        if name is not None:
            _zone(name)
        return name

    @model_validator(mode="after")
    def _signs_differ(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands must be different signs")
        return self

    def canonical(self, text: str, type: str) -> str | None:
        """The text as JSON would have it for a column of a type of the contract, or None if it stands for null.

        Raises MisreadError if it is not written so, or is a local time that a clock change skips.
        """
        text = text.strip()
        if not text or text in self.missing:
            return None
        if type in ("integer", "number"):
            return self._number(text)
        if type == "boolean":
            word = self.words.get(text.casefold(), _WORDS.get(text.casefold()))
            if word is None:
                raise MisreadError(f"{text!r} is not one of {', '.join([*self.words, *_WORDS])}")
            return str(word).lower()
        if type in ("date", "timestamp"):
            return self._moment(text, type)
        return text

    def _number(self, text: str) -> str:
        number = text
        for sign in self.around:
            number = number.removeprefix(sign).removesuffix(sign).strip()
        sign, digits = ("-", number[1:].lstrip()) if number.startswith("-") else ("", number.removeprefix("+"))
        for each in self.around:  # as in -€5
            digits = digits.removeprefix(each).lstrip()
        if not _pattern(self.decimal, self.thousands).fullmatch(digits):
            raise MisreadError(f"{text!r} is not a number such as {self._example()}")
        if self.thousands:
            digits = digits.replace(self.thousands, "")
        digits = digits.replace(self.decimal, ".") if self.decimal != "." else digits
        whole, point, fraction = digits.partition(".")
        return f"{sign}{_without_zeros(whole)}{point if fraction else ''}{fraction}"

    def _moment(self, text: str, type: str) -> str:
        moment = self.moment(text)
        if type == "date":
            if moment.tzinfo is not None or moment.time() != time():
                raise MisreadError(f"{text!r} is a time, not a date")
            return moment.date().isoformat()
        if moment.tzinfo is None and self.timezone is not None:
            moment = _localized(moment, self.timezone, text)
        if moment.tzinfo is None:
            raise MisreadError(f"{text!r} has no time zone")
        try:
            return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
        except OverflowError:
            raise MisreadError(f"{text!r} is outside the years 1 to 9999") from None

    def _example(self) -> str:
        return f"1{self.thousands or ''}234{self.decimal}5"

    def moment(self, text: str) -> datetime:
        """The time in a text, without a zone if it has none. Raises MisreadError if it is not written so."""
        for form in self.dates:
            try:
                return datetime.strptime(text, form)
            except ValueError:
                continue
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            forms = " or ".join([*self.dates, "ISO 8601"])
            raise MisreadError(f"{text!r} is not a time in the format {forms}") from None


_WORDS = {"true": True, "false": False}


class MisreadError(ValueError):
    """A text is not written as the column's values are."""


def _localized(moment: datetime, timezone: str, text: str) -> datetime:
    """The time in its zone: the first of two that a clock change doubles. Raises MisreadError if there is none."""
    local = moment.replace(tzinfo=_zone(timezone))
    try:
        exists = local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) == moment
    except OverflowError:
        raise MisreadError(f"{text!r} is outside the years 1 to 9999") from None
    # The beginning of a day that the clocks skip is the first moment of the day that exists.
    if not exists and ":" in text:
        raise MisreadError(f"{text!r} does not exist in {timezone}: the clocks skip it")
    return local


def is_doubled(moment: datetime, timezone: str) -> bool:
    """Whether a local time without a zone exists twice, because the clocks are put back."""
    first = moment.replace(tzinfo=_zone(timezone), fold=0)
    return first.utcoffset() != first.replace(fold=1).utcoffset()


@lru_cache
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin") from None


@lru_cache
def _pattern(decimal: str, thousands: str | None) -> re.Pattern[str]:
    """Digits, in groups of three if there is a sign of thousands among them, and a fraction or an exponent."""
    groups = rf"|[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+" if thousands else ""
    point = re.escape(decimal)
    return re.compile(rf"(?:\d+{groups})(?:{point}\d*)?(?:[eE][-+]?\d+)?|{point}\d+(?:[eE][-+]?\d+)?", re.ASCII)


def _without_zeros(whole: str) -> str:
    """A whole number as JSON has it: 7 for 007, 0 for nothing before the point."""
    return whole.lstrip("0") or "0"
