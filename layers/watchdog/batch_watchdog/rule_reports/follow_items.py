"""Followed jobs on the wheel: many in one entry, with a row for each limit."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import batched
from typing import Any

from pydantic import TypeAdapter

from batch_watchdog.budgets.periods import to_ms, to_time
from batch_watchdog.rule_reports.followed import FollowedJob, RuleKey
from batch_watchdog.store.item_codec import pack, unpack
from batch_watchdog.store.reminders import MINUTE, Reminder, Reminders, minute_of
from batch_watchdog.store.table import Table

FIRST_LOOK = timedelta(minutes=10)
CHECK_EVERY = timedelta(hours=1)
ROUNDED_UP_TO = timedelta(minutes=15)  # so that many jobs are described together

_ENTRY_MAX = 2_000  # jobs
_AROUND = timedelta(days=1)  # no check is filed for later
_KEY = TypeAdapter(RuleKey)


def entries(jobs: Iterable[FollowedJob], at: datetime) -> Iterator[Reminder]:
    """Build the entries by which jobs are checked at the first quarter of an hour after a time."""
    minute = minute_of(at) + MINUTE
    minute += -timedelta(minutes=minute.minute) % ROUNDED_UP_TO
    # Service jobs together, so that the others are described many at a time.
    ordered = sorted(jobs, key=lambda each: (each.service, each.about, each.key.mode))
    for some in batched(ordered, _ENTRY_MAX, strict=False):
        by_key: dict[RuleKey, list[list[Any]]] = defaultdict(list)
        for job in some:
            by_key[job.key].append(
                [
                    job.job_id,
                    job.about.removeprefix(job.job_id),
                    to_ms(job.since),
                    to_ms(job.decided_at),
                    int(job.service),
                    job.missed,
                ]
            )
        content = [[asdict(key), rows] for key, rows in by_key.items()]
        yield Reminder(minute=minute, kind="followed", content=pack(content))


def read(rows: Iterable[Any]) -> Iterator[FollowedJob]:
    """Yield the jobs of some rows."""
    for given, jobs in rows:
        key = _KEY.validate_python(given)
        for job_id, about, since, decided, service, missed in jobs:
            yield FollowedJob(
                job_id=job_id,
                about=job_id + about,
                key=key,
                since=to_time(since),
                decided_at=to_time(decided),
                service=bool(service),
                missed=missed,
            )


def all_filed(table: Table, now: datetime) -> Iterator[FollowedJob]:
    """Yield all followed jobs, as they are filed. The end of some may be known already."""
    for entry in Reminders(table).between(now - _AROUND, now + _AROUND):
        if entry.kind == "followed":
            yield from read(unpack(entry.content))
