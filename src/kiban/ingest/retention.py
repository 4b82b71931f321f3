"""How long the rows of a table are kept: whole months, counted from the present one."""

from datetime import datetime
from zoneinfo import ZoneInfo


def cut(now: datetime, months: int, timezone: str) -> datetime:
    """The beginning of the oldest month that is kept: the present one and `months` before it."""
    local = now.astimezone(ZoneInfo(timezone))
    number = local.year * 12 + local.month - 1 - months
    return local.replace(year=number // 12, month=number % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
