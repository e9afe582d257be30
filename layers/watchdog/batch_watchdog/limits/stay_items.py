"""
Pack stays into reminders: many in one entry, in few bytes each.

A row has the fields of a stay in the order of `_FIELDS`. Fields at its end that have their default
value are left out, so rows of older versions are shorter. The children of one array that entered a
state in the same second are one row, with their indices.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import batched
from typing import Any

from batch_watchdog.core.job_event import EPOCH
from batch_watchdog.limits.child_ids import children, families
from batch_watchdog.limits.stays import Stay
from batch_watchdog.store.item_codec import pack
from batch_watchdog.store.reminders import MINUTE, Kind, Reminder, minute_from, minute_of

_ENTRY_MAX = 5_000  # stays; an item holds 400 KB, and a stay takes 24 bytes

type _Row = tuple[str | int, ...]
_FIELDS: _Row = ("", "", 0, 0, 0, 0, 0, 0, 0, "", "", 0, 0, 0)  # their default values
_INDICES = 9


def entries(
    due: Iterable[tuple[datetime, Stay]],
    now: datetime,
    *,
    kind: Kind = "stay",
    policy: str = "",
) -> Iterator[Reminder]:
    """
    Yield the reminders of stays at these times, or in the next minute if that is later.

    The same stays give the same entries, in any order. `policy` is the version of the policy by
    which they are filed.
    """
    soonest = minute_of(now) + MINUTE
    by_minute: dict[datetime, set[tuple[_Row, str]]] = defaultdict(set)
    for at, stay in due:
        by_minute[max(minute_from(at), soonest)].add((_to_row(stay), stay.job_id))
    for minute, rows in by_minute.items():
        for some in batched(sorted(rows), _ENTRY_MAX, strict=False):
            yield Reminder(
                minute=minute, kind=kind, content=pack(list(_with_ids(some))), policy=policy
            )


def read(content: Any) -> Iterator[Stay]:
    """Yield the stays of an entry."""
    for given in content:
        row = [*given, *_FIELDS[len(given) :]]
        status, job_id, since, attempts, service, stops, stopped_at, unseen, missed = row[:_INDICES]
        indices, cause, cause_since, unasked, left_alone = row[_INDICES:]
        for each in children(job_id, indices) if indices else [job_id]:
            yield Stay(
                job_id=each,
                status=status,
                since=EPOCH + timedelta(seconds=since),
                attempts=attempts,
                service=bool(service),
                stops=stops,
                stopped_at=EPOCH + timedelta(seconds=stopped_at) if stopped_at else None,
                tags_known=not unseen,
                missed=missed,
                cause=cause,
                cause_since=EPOCH + timedelta(seconds=cause_since) if cause_since else None,
                unasked=unasked,
                left_alone=bool(left_alone),
            )


def _to_row(stay: Stay) -> _Row:
    # A stay whose beginning is known to the millisecond counts from the next second on, so that
    # no job is stopped too early.
    since = math.ceil(stay.since.timestamp())
    stopped_at = math.ceil(stay.stopped_at.timestamp()) if stay.stopped_at else 0
    numbers = stay.attempts, int(stay.service), stay.stops, stopped_at
    cause_since = math.ceil(stay.cause_since.timestamp()) if stay.cause_since else 0
    check_results = int(not stay.tags_known), stay.missed
    more = stay.cause, cause_since, stay.unasked, int(stay.left_alone)
    return (stay.status, "", since, *numbers, *check_results, "", *more)


def _with_ids(rows: Iterable[tuple[_Row, str]]) -> Iterator[list[str | int]]:
    alike: dict[_Row, list[str]] = defaultdict(list)
    for row, job_id in rows:
        alike[row].append(job_id)
    for fields, ids in alike.items():
        end = _end(fields)
        for job_id, indices in families(ids):
            whole = [fields[0], job_id, *fields[2:_INDICES], indices, *fields[_INDICES + 1 :]]
            yield whole[: max(end, _INDICES + 1) if indices else end]


def _end(fields: _Row) -> int:
    """Return how many fields are left without those at the end that have their default value."""
    end = len(fields)
    while fields[end - 1] == _FIELDS[end - 1]:
        end -= 1
    return end
