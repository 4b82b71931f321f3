"""The type of a column of text, and how its values are written, decided from all of them.

A rule applies only if it reads every value. What two rules read in different ways is a question.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import Literal, NamedTuple

from kiban.core.errors import KibanError
from kiban.data.contract import Type
from kiban.data.written import MisreadError, Written, is_doubled

MISSING = ("na", "n/a", "n.a.", "n.a", "#n/a", "null", "none", "nan", "-", "--", "?", ".", "nil", "missing", "unknown")
"""Texts that stand for null, but only beside numbers, dates, or yes and no: NA is a country, and None a name."""

WORDS = (
    *(("yes", "no"), ("true", "false"), ("y", "n"), ("t", "f"), ("on", "off"), ("ja", "nein"), ("wahr", "falsch")),
    *(("oui", "non"), ("vrai", "faux"), ("si", "no"), ("sí", "no"), ("sì", "no"), ("sim", "não"), ("ja", "nej")),
    *(("tak", "nie"), ("да", "нет"), ("はい", "いいえ")),
)
SIGNS = (
    *("US$", "R$", "$", "€", "£", "¥", "₹", "%", "USD", "EUR", "GBP", "CHF", "JPY", "SEK", "NOK", "DKK", "PLN", "INR"),
    *("Fr.", "kr", "zł", "Kč"),
)
NUMBERS = (  # decimal, thousands
    (".", None),
    (".", ","),
    (".", " "),
    (".", "'"),
    (".", "\u2019"),
    (".", "\u00a0"),
    (".", "\u202f"),
    (",", None),
    (",", "."),
    (",", " "),
    (",", "'"),
    (",", "\u2019"),
    (",", "\u00a0"),
    (",", "\u202f"),
)
DAYS = ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%d-%m-%y")
MONTHS = ("%m/%d/%Y", "%m-%d-%Y", "%m.%d.%Y", "%m/%d/%y", "%m-%d-%y", "%m.%d.%y")
DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", *DAYS, *MONTHS),
    *("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%d-%b-%Y", "%d-%b-%y", "%d. %B %Y"),
)
TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
ZONES = ("", "%z", " %z")
FIRST_YEAR, LAST_YEAR = 1800, 2200  # of dates that are believed
MOST_NAMED = 3  # rows in a note
MOST_ODD_SHARE, MOST_ODD_WORDS = 0.05, 3

Dates = Literal["day-first", "month-first"]


class Read(NamedTuple):
    """The type of a column, how it is written, and what a person should know about it."""

    type: Type
    written: Written | None
    notes: list[str]


class Options(NamedTuple):
    """What a person said about a file: the decimal sign, the order of day and month, texts for null, the time zone."""

    decimal: str | None = None
    dates: str | None = None
    missing: tuple[str, ...] = ()
    timezone: str = "UTC"


class QuestionError(Exception):
    """Values can be read in two ways. The message asks; `option` is the one that answers."""

    def __init__(self, text: str, option: str) -> None:
        super().__init__(text)
        self.option = option


def read(
    name: str, counts: Mapping[str, int], options: Options, where: Mapping[str, int], blanks: bool = False
) -> Read:
    """The type of the column `name`, whose texts occur as often as `counts` says, blank ones aside.

    `blanks` says whether there are such. `where` has the first row of each text. Raises QuestionError if the texts can
    be read in two ways, and KibanError if nearly all are numbers and the others are neither.
    """
    found = _read(name, counts, options, where)
    written = found.written or Written()
    as_it_is = not (blanks or options.missing)
    for text in counts:
        try:
            as_it_is = text == written.canonical(text, found.type) and as_it_is
        except MisreadError as error:  # a time that does not exist
            raise KibanError(
                f"column {name!r}, row {where[text]}: {error}; correct it, or give another --timezone"
            ) from None
    notes = [*found.notes, *_doubled(counts, written, where)] if found.type == "timestamp" else found.notes
    return found._replace(written=None if as_it_is else written, notes=notes)


def _doubled(texts: Iterable[str], written: Written, where: Mapping[str, int]) -> list[str]:
    """What to know about times without a zone that exist twice."""
    if written.timezone is None:
        return []
    moments = {text: written.moment(text.strip()) for text in texts if text.strip() not in written.missing}
    doubled = [text for text, each in moments.items() if each.tzinfo is None and is_doubled(each, written.timezone)]
    return doubled_note(len(doubled), [where[text] for text in doubled[:MOST_NAMED]]) if doubled else []


def doubled_note(number: int, rows: Sequence[int]) -> list[str]:
    """The note about so many times that exist twice, of which these are the first rows, counted from 1."""
    more = ", …" if number > len(rows) else ""
    return [
        f"{number:,} time{'s' * (number > 1)} exist twice, since clocks are put back: the first is taken, as in row "
        f"{', '.join(f'{row:,}' for row in rows)}{more}"
    ]


def _read(name: str, counts: Mapping[str, int], options: Options, where: Mapping[str, int]) -> Read:
    """`read`, with what is written like JSON too."""
    texts = {text: text.strip() for text in counts}
    tokens = list(options.missing)
    values = [text for text in texts.values() if text and text not in options.missing]
    if not values:
        return Read("string", Written(missing=tokens), [])
    for missing in ([], sorted({text for text in values if text.casefold() in MISSING})):
        present = [text for text in values if text not in missing]
        if not present:
            break
        if (found := _typed(name, present, options)) is not None:
            notes = [f"{_listed(missing)} stand{'s' * (len(missing) == 1)} for null"] * bool(missing)
            return _with(found, [*tokens, *missing], notes)
    odd = _odd_words(values, counts, texts)
    if odd is not None:
        numbers = [text for text in values if text not in odd]
        tokens += sorted({text for text in values if text.casefold() in MISSING})
        numbers = [text for text in numbers if text not in tokens]
        found = _typed(name, numbers, options)
        words = all(len(text.split()) <= MOST_ODD_WORDS and not re.search(r"\d", text) for text in odd)
        if found is not None and found.type == "string":  # codes, of which some are words
            return found
        if words and len(odd) <= MOST_ODD_WORDS and found is not None:
            times = sum(count for text, count in counts.items() if texts[text] in odd)
            return _with(found, [*tokens, *odd], [f"{_listed(odd)} among numbers: null, {times:,} times"])
        first = min(odd, key=lambda text: where[next(raw for raw, trimmed in texts.items() if trimmed == text)])
        row = where[next(raw for raw, trimmed in texts.items() if trimmed == first)]
        raise KibanError(
            f"column {name!r}, row {row}: {first!r} is no number, but nearly all other values are: correct it, give "
            f"--missing {first!r} if it stands for null, or --drop {name!r}"
        )
    notes = _nearly(name, values, options)
    kept = sorted({text for text in values if text.casefold() in MISSING and len(text) > 1})
    if kept:
        notes.append(f"{_listed(kept)} is text here; --missing {kept[0]} makes it null")
    return Read("string", Written(missing=tokens), notes)


def _nearly(name: str, values: Sequence[str], options: Options) -> list[str]:
    """A note about texts of which most, but not all, are numbers or dates."""
    dates = [text for text in values if _is_like_a_moment(text) and any(_fits(form, [text]) for form in DATES)]
    numbers = [text for text in values if re.fullmatch(r"[-+]?\d[\d.,]*", _bare(text), re.ASCII)]
    for what, those in (("dates", dates), ("numbers", numbers)):
        if len(values) / 2 < len(those) < len(values):
            other = next(text for text in values if text not in those)
            return [f"most are {what}, but not all, such as {other!r}: taken as text"]
    return []


def _with(read: Read, missing: Sequence[str], notes: Sequence[str]) -> Read:
    written = (read.written or Written()).model_copy(update={"missing": list(missing)})
    return Read(read.type, written, [*notes, *read.notes])


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(repr(text) for text in texts)


def _odd_words(values: Sequence[str], counts: Mapping[str, int], texts: Mapping[str, str]) -> list[str] | None:
    """The few texts that are no numbers among many that are, or None if they are not few, or there is none."""
    plain = re.compile(r"[-+]?\s*(\d[\d.,'\u2019 \u00a0\u202f]*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
    odd = sorted({text for text in values if not plain.fullmatch(_bare(text)) and text.casefold() not in MISSING})
    if not odd or not any(plain.fullmatch(_bare(text)) for text in values):
        return None
    total = sum(counts[raw] for raw, text in texts.items() if text)
    share = sum(counts[raw] for raw, text in texts.items() if text in odd) / total
    return odd if share <= MOST_ODD_SHARE else None


def _bare(text: str) -> str:
    """A text without signs of currency or percent."""
    for sign in SIGNS:
        text = text.removeprefix(sign).removesuffix(sign).strip()
    return text


def _typed(name: str, texts: Sequence[str], options: Options) -> Read | None:
    """The type of texts that are all numbers, all yes or no, or all dates; None if they are none of these."""
    return _number(name, texts, options) or _boolean(texts) or _moment(name, texts, options)


def _number(name: str, texts: Sequence[str], options: Options) -> Read | None:
    if all(re.fullmatch(r"[-+]?\d+", text, re.ASCII) for text in texts):
        return _whole(texts)
    if any(re.fullmatch(r"\+[\d ()/-]{8,}", text, re.ASCII) for text in texts):  # of telephones
        return None
    if all(re.fullmatch(r"\d+[eE]\d+|\d+", text, re.ASCII) for text in texts):  # 12E4 is a code
        return None
    present = {sign for sign in SIGNS for text in texts if sign in text}
    signs = sorted(sign for sign in present if not any(sign in other for other in present - {sign}))  # $ of US$
    if len(signs) > 1 or ("%" in signs and not all("%" in text for text in texts)):
        return None  # other currencies are other numbers, and so are percentages
    fitting: list[Written] = []
    occurring = {sign for text in texts for sign in text}
    for decimal, thousands in NUMBERS:
        if thousands is not None and thousands not in occurring:
            continue
        written = Written.model_validate({"decimal": decimal, "thousands": thousands, "around": signs})
        if _reads(written, texts, "number"):
            fitting.append(written)
    if not fitting:
        return None
    if len(_meanings(fitting, texts)) > 1 and options.decimal:
        fitting = [written for written in fitting if written.decimal == options.decimal] or fitting
    meanings = _meanings(fitting, texts)
    if len(meanings) > 1:
        raise QuestionError(f"column {name!r}: is {texts[0]!r} a fraction, or are these thousands?", "--decimal . or ,")
    written = fitting[0]
    canonical = [written.canonical(text, "number") or "" for text in texts]
    whole = all(re.fullmatch(r"-?\d+", text, re.ASCII) for text in canonical)
    if whole and any(len(text) > 18 and not -(2**63) <= int(text) < 2**63 for text in canonical):
        return None
    notes = [f"read like {texts[0]!r} = {written.canonical(texts[0], 'number')}"] * (written != Written())
    return Read("integer" if whole else "number", written, notes)


def _meanings(writtens: Sequence[Written], texts: Sequence[str]) -> set[tuple[str | None, ...]]:
    return {tuple(written.canonical(text, "number") for text in texts) for written in writtens}


def _whole(texts: Sequence[str]) -> Read | None:
    if any(text.startswith("+") and len(text) > 8 for text in texts):
        return Read("string", None, ["numbers of telephones: text"])
    if any(re.match(r"[-+]?0\d", text) for text in texts):
        return Read("string", None, ["codes with leading zeros: text"])
    if any(not -(2**63) <= int(text) < 2**63 for text in texts if len(text) > 18):
        return Read("string", None, ["whole numbers of more than 18 digits: text"])
    return Read("integer", None, [])


def _reads(written: Written, texts: Sequence[str], type: Type) -> bool:
    try:
        for text in texts:
            written.canonical(text, type)
    except MisreadError:
        return False
    return True


def _boolean(texts: Sequence[str]) -> Read | None:
    words = {text.casefold() for text in texts}
    for yes, no in WORDS:
        if words == {yes, no}:
            return Read("boolean", Written(words={} if yes == "true" else {yes: True, no: False}), [])
    return None


def _is_like_a_moment(text: str) -> bool:
    """Whether a text has what every format of a date has. To try all formats takes a hundred times as long."""
    return bool(re.search(r"\d", text) and re.search(r"[-./ ]", text))


def _moment(name: str, texts: Sequence[str], options: Options) -> Read | None:
    if not all(_is_like_a_moment(text) and len(text) <= 40 for text in texts):
        return None
    if (found := _iso(texts, options)) is not None:
        return found
    fitting = [(form, kind) for form, kind in _forms() if _fits(form, texts)]
    if not fitting:
        return _of_several(name, texts, options)
    day_first = [pair for pair in fitting if pair[0].startswith("%d")]
    month_first = [pair for pair in fitting if pair[0].startswith("%m")]
    if day_first and month_first:
        if options.dates is None and _moments(day_first[0][0], texts) != _moments(month_first[0][0], texts):
            raise QuestionError(
                f"column {name!r}: does {texts[0]!r} begin with the day or the month?", "--dates day-first"
            )
        fitting = month_first if options.dates == "month-first" else day_first
    form, kind = fitting[0]
    return _read_moment([form], kind, texts, options)


def _iso(texts: Sequence[str], options: Options) -> Read | None:
    try:
        moments = [datetime.fromisoformat(text) for text in texts]
    except ValueError:
        return None
    if not all("-" in text[4:] for text in texts) or not _believed(moments):
        return None
    if all(len(text) == 10 for text in texts):
        return Read("date", None, [])
    return _read_moment([], "timestamp", texts, options)


def _forms() -> list[tuple[str, Type]]:
    times = [f"{space}{time}{zone}" for space, time, zone in product((" ", "T"), TIMES, ZONES)]
    days: list[tuple[str, Type]] = [(day, "date") for day in DATES]
    return [*days, *((f"{day}{time}", "timestamp") for day, time in product(DATES, times))]


def _fits(form: str, texts: Sequence[str]) -> bool:
    try:
        return _believed([datetime.strptime(text, form) for text in texts])
    except ValueError:
        return False


def _believed(moments: Sequence[datetime]) -> bool:
    return all(FIRST_YEAR <= moment.year <= LAST_YEAR for moment in moments)


def _moments(form: str, texts: Sequence[str]) -> list[datetime]:
    return [datetime.strptime(text, form) for text in texts]


def _of_several(name: str, texts: Sequence[str], options: Options) -> Read | None:
    """Dates in several formats, each of which is read in one way, with the day first or the month first throughout."""
    ways = {
        order: chosen
        for order, left_out in (("day-first", MONTHS), ("month-first", DAYS))
        if (chosen := _covering([form for form in DATES if form not in left_out], texts)) is not None
    }
    if not ways:
        return None
    if len(ways) == 2 and options.dates is None:
        meanings = [Written(dates=chosen) for chosen in ways.values()]
        for text in texts:
            if len({written.canonical(text, "date") for written in meanings}) > 1:
                raise QuestionError(
                    f"column {name!r}: does {text!r} begin with the day or the month?", "--dates day-first"
                )
    chosen = ways[options.dates] if options.dates in ways else next(iter(ways.values()))
    read = _read_moment(chosen, "date", texts, options)
    return read._replace(notes=[f"dates in {len(chosen)} formats: {', '.join(chosen)}"])


def _covering(forms: Sequence[str], texts: Sequence[str]) -> list[str] | None:
    """Up to three of the formats that together read every text, or None."""
    left, chosen = list(texts), list[str]()
    while left:
        fitted = {form: [text for text in left if _fits(form, [text])] for form in forms}
        best = max(fitted, key=lambda form: len(fitted[form]))
        if not fitted[best] or len(chosen) == 3:
            return None
        chosen.append(best)
        left = [text for text in left if text not in fitted[best]]
    return chosen


def _read_moment(forms: list[str], kind: Type, texts: Sequence[str], options: Options) -> Read:
    """How dates or times in these formats are read. Times without a zone are those of --timezone."""
    if kind == "date":
        return Read("date", Written(dates=forms), [f"dates like {texts[0]}"])
    written = Written(dates=forms)
    if all(written.moment(text).tzinfo for text in texts):
        return Read("timestamp", written, [])
    note = f"times without a zone: taken in {options.timezone}"
    return Read("timestamp", Written(dates=forms, timezone=options.timezone), [note])
