"""Stays in the wheel: many in one entry, in few bytes each."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import batched
from typing import Any

from batch_watchdog.changes import EPOCH
from batch_watchdog.limits import Stay
from batch_watchdog.store.table import pack
from batch_watchdog.store.wheel import MINUTE, Entry, Kind, minute_from, minute_of

_ENTRY_MAX = 5_000  # stays; an item holds 400 KB, and one takes 24 bytes


def entries(
    due: Iterable[tuple[datetime, Stay]],
    now: datetime,
    *,
    kind: Kind = "stay",
    policy: str = "",
) -> Iterator[Entry]:
    """
    The entries that remind of stays at these times, or as soon as a sweep can.

    The same stays give the same entries, in whatever order they come. `policy` is the version by
    which they are filed.
    """
    soonest = minute_of(now) + MINUTE
    by_minute: dict[datetime, set[Stay]] = defaultdict(set)
    for at, stay in due:
        by_minute[max(minute_from(at), soonest)].add(stay)
    for minute, stays in by_minute.items():
        rows = sorted(map(_to_row, stays))
        for some in batched(rows, _ENTRY_MAX, strict=False):
            yield Entry(minute=minute, kind=kind, content=pack(some), policy=policy)


def read(content: Any) -> Iterator[Stay]:
    """The stays of an entry."""
    for status, job_id, since, attempts, service, stops in content:
        yield Stay(
            job_id=job_id,
            status=status,
            since=EPOCH + timedelta(seconds=since),
            attempts=attempts,
            service=bool(service),
            stops=stops,
        )


def _to_row(stay: Stay) -> tuple[str, str, int, int, int, int]:
    since = int(stay.since.timestamp())
    return stay.status, stay.job_id, since, stay.attempts, int(stay.service), stay.stops
