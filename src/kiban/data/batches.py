"""Names of batches and the time that each covers.

A batch is named after a year (2013), a month (2013-01) or a day (2013-01-31) of the dataset's time zone, so that names
sort by time. Rows of a period that came later are a batch of their own (2013-01.2). A file of a table without time is a
batch with the number of its delivery (001-customers). A table without batches has the one batch `static`.
"""

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from kiban.core.errors import KibanError

STATIC = "static"
LATER = re.compile(r"\.([2-9]|[1-9]\d+)$")
DELIVERY = re.compile(r"(?P<number>\d{3})-[a-z][a-z0-9_.-]*")

Period = tuple[datetime, datetime]
"""A half-open interval [start, end) as aware datetimes."""


def bounds(batch: str, timezone: str) -> Period:
    """The local time that `batch` covers.

    Raises KibanError if the name is not a year, a month or a day.
    """
    zone = ZoneInfo(timezone)
    match = re.fullmatch(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", base(batch))
    try:
        if match is None:
            raise ValueError
        year, month, day = (None if group is None else int(group) for group in match.groups())
        start = datetime(year or 0, 1 if month is None else month, 1 if day is None else day, tzinfo=zone)
        if day:
            return start, start + timedelta(days=1)
        if month:
            return start, start.replace(year=start.year + month // 12, month=month % 12 + 1)
        return start, start.replace(year=start.year + 1)
    except (ValueError, OverflowError):
        raise KibanError(f"batch {batch!r}: a name must be a year, a month or a day, such as 2013-01") from None


def base(batch: str) -> str:
    """The name of the period of a batch: 2013-01 of 2013-01.2. Of a delivery it is the whole name."""
    return batch if DELIVERY.fullmatch(batch) else LATER.sub("", batch)


def superseding(batch: str, names: Collection[str]) -> list[str]:
    """The batches among `names`, sorted, whose rows take the place of rows of `batch` with the same key.

    They are the later deliveries: all of a table without time, or those of the same period.
    """
    if DELIVERY.fullmatch(batch):
        return sorted(name for name in names if DELIVERY.fullmatch(name) and name > batch)
    return sorted(name for name in names if base(name) == base(batch) and step_within(name) > step_within(batch))


def step_within(batch: str) -> int:
    """The number of a delivery within its period: 2 of 2013-01.2, and 1 of 2013-01."""
    later = LATER.search(batch)
    return int(later[1]) if later else 1


def period(batch: str, timezone: str) -> Period | None:
    """The local time that `batch` covers, or None for the static batch and for a delivery.

    Raises KibanError if the name is none of those.
    """
    return None if batch == STATIC or DELIVERY.fullmatch(batch) else bounds(batch, timezone)


def with_lookback(batch: str, names: list[str], days: int, timezone: str) -> list[str]:
    """The batches among `names` that `batch` needs: itself and the earlier ones that overlap the `days` before it."""
    if not days:
        return [batch]
    start, _ = bounds(batch, timezone)
    since = start - timedelta(days=days)
    return [name for name in names if name <= batch and bounds(name, timezone)[1] > since]


def step(batch: str) -> int:
    """A whole number for a batch, in the order of the names: 201301 of 2013-01, 1 of 001-customers, 0 of static."""
    if delivery := DELIVERY.fullmatch(batch):
        return int(delivery["number"])
    return int(base(batch).replace("-", "")) if batch != STATIC else 0
