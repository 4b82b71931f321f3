"""Names of batches and the time that each covers.

A batch is named after a year (2013), a month (2013-01) or a day (2013-01-31) of the dataset's time zone, so that names
sort by time. A file that was delivered without such a name is a batch with the number of the delivery (001-customers).
A table without batches has the one batch `static`.
"""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from kiban.core.errors import KibanError

STATIC = "static"
DELIVERY = re.compile(r"(?P<number>\d{3})-[a-z][a-z0-9_.-]*")

Period = tuple[datetime, datetime]
"""A half-open interval [start, end) as aware datetimes."""


def bounds(batch: str, timezone: str) -> Period:
    """The local time that `batch` covers.

    Raises KibanError if the name is not a year, a month or a day.
    """
    zone = ZoneInfo(timezone)
    match = re.fullmatch(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", batch)
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
    return int(batch.replace("-", "")) if batch != STATIC else 0
