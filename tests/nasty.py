"""Files as people send them: a true table is made first, and then written with three kinds of nastiness."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

# By what they change, in the order in which they are applied, each with the column that it needs. A file has no two of
# one group, and none of the groups `encoding`, `lines` and `broken` beside JSON.
KINDS: dict[str, dict[str, str]] = {
    "encoding": {"BOM": "", "UTF-16": "", "cp1252": "city"},
    "names": {"odd names": "", "names by case": "", "names twice": ""},
    "target": {"rare class": "", "classes of numbers": ""},
    "number": {"decimal commas": "amount", "percent": "share", "zip codes": "zip", "large integers": "serial"},
    "sign": {"thousands": "count", "currency": "amount"},
    "days": {"several formats": "born", "day or month first": "born"},
    "text": {"yes and no": "member", "long text": "note", "quoted": "note", "local times": "seen"},
    "rows": {"fifty rows": "", "duplicated": ""},
    "cells": {"words": "amount", "tokens": "", "missing targets": ""},
    "blanks": {"blanks": "", "blank cells": ""},
    "lines": {"delimiter": "", "lines before": "", "CR-LF": ""},
    "broken": {"ragged": "", "unclosed": "city", "totals": "count"},
    "file": {"packed": "", "JSON": ""},
}
GROUPS = {kind: group for group, kinds in KINDS.items() for kind in kinds}
NEEDS = {kind: column for kinds in KINDS.values() for kind, column in kinds.items()}
NO_READING = ("names by case", "names twice", "ragged", "unclosed", "totals")  # one of a file at most
CITIES = ("Zürich", "Málaga", "Köln", "Paris", "Namur", "Norwich")
WORDS = ("in Arbeit", "refused", "siehe unten")
TOKENS = ("NA", "-", "n.a.", "N/A", "null", "?")
YES_NO = (("yes", "no"), ("Ja", "Nein"), ("OUI", "NON"), ("Y", "N"), ("t", "f"), ("si", "no"), ("sí", "no"))
AROUND = (("$", ""), ("€ ", ""), ("", " €"), ("", " EUR"), ("£", ""), ("CHF ", ""))
NAMES = (
    *("class", "None", "lambda", "yes", "null", "1", "-", "#", "Umsatz (€)", "a b", " blank before", "x.y", "{x}", "%"),
    *("a,b;c|d", 'the "best"', "Preis\n(EUR)", "n" * 200, "ß: &*!", "__init__", "row_hash", "a=b, c", "名前", "№ ~"),
)
LINES = ("Export of 3 May 2024, Berlin", "Source: ERP, table 4", "", '"Umsatz" in EUR, netto', "confidential")
OPEN = "\ue000"  # stands for a quote that is not closed, until all is written
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@dataclass
class Column:
    """The true values of a column, and how they are written. `cells` are texts in the place of what a value says."""

    type: str
    values: list[Any]
    render: Callable[[Any], str] | None = None
    decimal: str = "."
    thousands: str = ""
    around: tuple[str, str] = ("", "")
    cells: dict[int, str] = field(default_factory=dict)
    pads: dict[int, str] = field(default_factory=dict)

    def text(self, row: int) -> str:
        value = self.values[row]
        text = self.cells[row] if row in self.cells else "" if value is None else self._rendered(value)
        return f"{self.pads.get(row, '')}{text}{self.pads.get(row, '')}"

    def _rendered(self, value: Any) -> str:
        if self.render is not None:
            return self.render(value)
        if self.type in ("number", "integer"):
            text = f"{value:,.2f}" if self.type == "number" else f"{value:,}"
            signs = {",": self.thousands, ".": self.decimal}
            return self.around[0] + "".join(signs.get(sign, sign) for sign in text) + self.around[1]
        if self.type == "boolean":
            return str(value).lower()
        return value.isoformat().replace("+00:00", "Z") if isinstance(value, date) else str(value)

    def is_plain(self) -> bool:
        """Whether the values are written as JSON has them."""
        is_odd = self.render or self.cells or self.pads or self.thousands or any(self.around) or self.decimal != "."
        return self.type in ("integer", "number", "boolean") and not is_odd


@dataclass
class Draft:
    """A file in the making. `rows` are the places of its rows in the columns, of which some may be written twice.

    `faults` are what a message may name, and a file that `is_broken` has no right reading. `asks` are options that
    decide what a column does not tell.
    """

    columns: dict[str, Column]
    random: Random
    rows: list[int] = field(default_factory=lambda: list(range(120)))
    labels: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    delimiter: str = ","
    line_end: str = "\n"
    before: list[str] = field(default_factory=list)
    suffix: str = ".csv"
    total: str | None = None
    ragged: int | None = None
    timezone: str = "UTC"
    faults: list[str] = field(default_factory=list)
    is_broken: bool = False
    asks: dict[str, dict[str, str]] = field(default_factory=dict)

    def some(self, most: int) -> list[int]:
        return self.random.sample(self.rows, self.random.randint(1, most))

    def label(self, name: str) -> str:
        return self.labels.get(name, name)

    def fault(self, text: str, is_broken: bool = True) -> None:
        self.faults.append(text)
        self.is_broken |= is_broken


def made(name: str, random: Random) -> Column:
    """The true values of a column of that name."""
    fraction = random.choice([0, 0, 250_000])  # microseconds
    make: dict[str, tuple[str, Callable[[], Any]]] = {
        "amount": ("number", lambda: round(random.uniform(-50, 90_000), 2)),
        "share": ("number", lambda: round(random.uniform(0, 100), 2)),
        "count": ("integer", lambda: random.randint(0, 90_000)),
        "member": ("boolean", lambda: random.random() < 0.4),
        "born": ("date", lambda: date(2023, 1, 1) + timedelta(random.randint(0, 700))),
        "seen": ("timestamp", lambda: NOON + timedelta(random.randint(0, 360), 60 * random.randint(0, 400), fraction)),
        "city": ("string", lambda: random.choice(CITIES)),
        "note": ("string", lambda: f"{random.choice(CITIES)} {random.randbytes(4).hex()} x"),
        "zip": ("string", lambda: f"{random.randint(0, 99_999):05}"),
        "serial": ("integer", lambda: random.randint(2**53, 2**63 - 1) | 1),
        "y boolean": ("boolean", lambda: random.random() < 0.3),
        "y classes": ("string", lambda: random.choice(("bronze", "silver", "gold"))),
        "y 0/1": ("integer", lambda: int(random.random() < 0.3)),
        "y number": ("number", lambda: round(random.gauss(20, 9), 2)),
    }
    type, value = make[name]
    return Column(type, [None if random.random() < 0.05 and name[0] != "y" else value() for _ in range(120)])


def change_table(draft: Draft, kind: str) -> None:
    """Change the true values, or how those of a whole column are written."""
    columns, random = draft.columns, draft.random
    match kind:
        case "rare class":
            columns["y"] = Column("string", ["gold"] * 2 + [random.choice(("bronze", "silver")) for _ in range(118)])
        case "classes of numbers":  # which are levels, as texts
            form = random.choice(["{} %", "€ {}", "{}", "0{}"])
            columns["y"] = Column("string", [form.format(random.choice("125")) for _ in range(120)])
        case "decimal commas":
            for column in columns.values():
                column.decimal = ","
        case "percent":
            columns["share"].around = ("", random.choice(["%", " %"]))
        case "large integers" if random.random() < 0.5:  # beyond those of 64 bits: text
            columns["serial"] = Column("string", [value and f"{value}000" for value in columns["serial"].values])
            draft.fault(f"column {draft.label('serial')!r}", False)
        case "thousands":
            column = columns["count"]
            column.thousands = random.choice([".,".replace(column.decimal, ""), " ", "'", "\u00a0"])
            if column.thousands in ".," and all(each.type != "number" for each in columns.values()):
                draft.asks["count"] = {"decimal": column.decimal}
        case "currency":
            column = columns["amount"]
            column.around = random.choice(AROUND)
            column.thousands = random.choice(["", " ", ".,".replace(column.decimal, "")])
        case "yes and no":
            yes, no = random.choice(YES_NO)
            columns["member"].render = lambda value: yes if value else no
        case "quoted":
            signs = ("\n", ",", ";", "\t", "|", ' "so" ', ",\n", "'", '";"')
            column = columns["note"]
            column.values = [value and value.replace(" ", random.choice(signs)) for value in column.values]


def change_times(draft: Draft, kind: str) -> None:
    """Write dates and times in other ways."""
    random, column = draft.random, draft.columns[NEEDS[kind]]
    match kind:
        case "several formats":
            forms, is_open = ("%d.%m.%Y", "%Y-%m-%d", "%b %d, %Y"), random.random() < 0.5
            for row, value in enumerate(column.values):
                if value is not None:  # a day above 12 tells of the others
                    form = random.choice(forms)
                    column.cells[row] = value.strftime(form if is_open or value.day > 12 else forms[1])
        case "day or month first":
            order, sign = random.choice(["day-first", "month-first"]), random.choice("./-")
            form = sign.join(("%d", "%m", "%Y") if order == "day-first" else ("%m", "%d", "%Y"))
            column.render = lambda value: value.strftime(form)
            if random.random() < 0.5:
                column.values = [value and value.replace(day=(value.day - 1) % 12 + 1) for value in column.values]
                draft.asks["born"] = {"dates": order}
        case "local times":
            draft.timezone, row = "Europe/Berlin", random.randrange(50)
            form = random.choice(["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y/%m/%d %H:%M"])
            column.values = [value and value.replace(microsecond=0) for value in column.values]
            column.render = lambda value: value.astimezone(ZoneInfo("Europe/Berlin")).strftime(form)
            if random.random() < 0.5:
                column.cells[row] = datetime(2024, 3, 31, 2, 30).strftime(form)
                draft.fault(f"column {draft.label('seen')!r}, row {row + 1}: ")
            else:
                column.values[row] = datetime(2024, 10, 27, 0, 30, tzinfo=UTC)  # the first of two


def change_cells(draft: Draft, kind: str) -> None:
    """Change single cells, and which rows are written."""
    columns, random = draft.columns, draft.random
    match kind:
        case "fifty rows":
            draft.rows = draft.rows[:50]
        case "duplicated":
            draft.rows += draft.some(9)
        case "words":
            for row in draft.some(2):
                columns["amount"].values[row], columns["amount"].cells[row] = None, random.choice(WORDS)
            draft.fault(f"column {draft.label('amount')!r}, row", False)
        case "tokens":
            for column in (each for each in columns.values() if each.type != "string" and each is not columns["y"]):
                known = random.sample(TOKENS, 2)
                for row in draft.some(12):
                    column.values[row], column.cells[row] = None, random.choice(known)
        case "missing targets":
            for row in draft.some(15):
                columns["y"].values[row] = None
        case "blanks":
            for column in random.sample(list(columns.values()), 3):
                column.pads = {row: random.choice([" ", "  "]) for row in draft.some(40)}
        case "blank cells":
            for column in columns.values():
                nulls = [row for row in draft.rows if column.values[row] is None]
                column.cells = dict.fromkeys(nulls, "  ") | column.cells
        case "ragged":
            draft.ragged = random.randrange(len(draft.rows))
            draft.fault(f"row {draft.ragged + 1}: it has")
        case "unclosed":
            row = random.choice(draft.rows)
            columns["city"].cells[row], columns["city"].pads = f"{OPEN}Köln", {}
            draft.fault(f"row {draft.rows.index(row) + 1}: ")
        case "totals":
            draft.total = random.choice(["Total", "TOTAL:", "Summe", "Gesamt", "Grand total"])
            draft.fault(f"row {len(draft.rows) + 1}: ", False)


def change_file(draft: Draft, kind: str) -> None:
    """Change the names of the columns, and the file around the values."""
    random = draft.random
    match kind:
        case "BOM" | "UTF-16" | "cp1252":
            draft.encoding = {"BOM": "utf-8-sig"}.get(kind, kind)
        case "odd names":
            names = random.sample(NAMES[:-2] if draft.encoding == "cp1252" else NAMES, len(draft.columns))
            draft.labels = dict(zip(draft.columns, names, strict=True))
            draft.labels["y"] = draft.labels["y"].strip()
            draft.faults += ["row_hash"] * ("row_hash" in names)
        case "names by case" | "names twice":
            one, other = random.sample(sorted(draft.columns.keys() - {"y"}), 2)
            draft.labels[other] = one.upper() if kind == "names by case" else one
            draft.fault(repr(one))
        case "delimiter":
            draft.delimiter = random.choice(";\t|")
        case "lines before":
            draft.before = random.sample(LINES, random.randint(1, 4))
        case "CR-LF":
            draft.line_end = "\r\n"
        case "packed":
            draft.suffix += random.choice([".gz", ".zip"])
        case "JSON":
            draft.suffix = ".jsonl"


def drawn(seed: int) -> tuple[Draft, list[str]]:
    """The draft of a file, with the three kinds of nastiness that it has."""
    random, kinds = Random(seed), list[str]()
    while len({GROUPS[kind] for kind in kinds}) < 3 or (
        ("JSON" in kinds and {"encoding", "lines", "broken"} & {GROUPS[kind] for kind in kinds})
        or {"fifty rows", "classes of numbers"} <= {*kinds}  # which are too few to be taken for classes
    ):
        kinds = [list(GROUPS)[seed % len(GROUPS)], *random.sample(sorted(GROUPS.keys() - {*NO_READING}), 2)]
    needed = {NEEDS[kind] for kind in kinds} - {""}
    others = sorted({"amount", "share", "count", "member", "born", "seen", "city"} - needed)
    names = sorted(needed) + random.sample(others, random.randint(3, 6) - len(needed))
    columns = {name: made(name, random) for name in random.sample(names, len(names))}
    columns["y"] = made(f"y {random.choice(['boolean', 'classes', '0/1', 'number'])}", random)
    draft = Draft(columns, random)
    for kind in sorted(kinds, key=list(GROUPS).index):
        group = GROUPS[kind]
        if group == "days" or kind == "local times":
            change_times(draft, kind)
        elif group in ("target", "number", "sign", "text"):
            change_table(draft, kind)
        else:
            (change_cells if group in ("rows", "cells", "blanks", "broken") else change_file)(draft, kind)
    return draft, kinds
