"""Days and periods in a time zone. Times are milliseconds since 1970."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from batch_watchdog.core.job_event import EPOCH
from batch_watchdog.policy.budget_tables import Budget

_MS = timedelta(milliseconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A day, a week or a month: its name, its first day, and the first day after it."""

    name: str
    first: date
    after: date
    begins: int
    ends: int


def to_ms(at: datetime) -> int:
    return (at - EPOCH) // _MS


def to_time(at_ms: int) -> datetime:
    return EPOCH + at_ms * _MS


@lru_cache(maxsize=1_024)
def day_begins(day: date, zone: ZoneInfo) -> int:
    """When a day begins: at midnight, or at the first time after it that the clock shows."""
    return to_ms(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC))


def day_of(at_ms: int, zone: ZoneInfo) -> date:
    return to_time(at_ms).astimezone(zone).date()


def period_of(budget: Budget, day: date) -> Period:
    """Return the period of a budget that contains a day."""
    match budget.per:
        case "day":
            first, after, name = day, day + _DAY, day.isoformat()
        case "week":
            first = day - timedelta(days=day.weekday())
            after = first + timedelta(days=7)
            name = f"{first:%G-W%V}"
        case "month":
            first = day.replace(day=1)
            after = (first + timedelta(days=31)).replace(day=1)
            name = f"{first:%Y-%m}"
    zone = budget.zone
    return Period(
        name=name,
        first=first,
        after=after,
        begins=day_begins(first, zone),
        ends=day_begins(after, zone),
    )


def split(begin: int, end: int, zone: ZoneInfo, since: date) -> Iterator[tuple[date, int]]:
    """Yield the days of a span, from `since` on, each with the milliseconds that lie in it."""
    begin = max(begin, day_begins(since, zone))
    while begin < end:
        day = day_of(begin, zone)
        midnight = day_begins(day + _DAY, zone)
        yield day, min(end, midnight) - begin
        begin = midnight
